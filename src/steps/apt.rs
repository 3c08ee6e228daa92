//! Package steps: lists, debconf answers, and the build's own apt configuration.

use crate::config::{Config, proxy};

/// apt configuration that is in force during the build and is never written to the image.
///
/// apt's binary caches go to the build's own package directory: some 40 MB that would be in
/// every layer otherwise. A locked build knows no other packages than the lock file's.
pub fn build_conf(config: &Config, locked: bool) -> String {
    let mut conf = String::from(
        "APT::Keep-Downloaded-Packages \"true\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::Languages \"none\";\n\
         Dir::Cache::pkgcache \"archives/pkgcache.bin\";\n\
         Dir::Cache::srcpkgcache \"archives/srcpkgcache.bin\";\n\
         Dpkg::Use-Pty \"false\";\n\
         DPkg::Options:: \"--force-unsafe-io\";\n",
    );
    for method in ["http", "https"] {
        conf += &format!("Acquire::{method}::Timeout \"{}\";\n", config.apt_timeout);
    }
    if locked {
        let dir = crate::sandbox::rootfs::PRIVATE_DIR;
        conf += &format!(
            "Dir::Etc::SourceList \"/{dir}/locked.list\";\nDir::Etc::SourceParts \"/dev/null\";\n"
        );
    }
    conf + &proxy::apt_conf(config.apt_proxy.as_deref())
}

/// Packages and options named by a list: `#` starts a comment, several words a line.
pub fn parse_list(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_ascii_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The apt-get call that installs `packages`.
pub fn install(packages: &[String], recommends: Recommends) -> Vec<String> {
    let mut argv: Vec<String> = ["apt-get", "install", "--yes"].map(str::to_owned).into();
    if recommends == Recommends::No {
        argv.push("--no-install-recommends".to_owned());
    }
    argv.extend_from_slice(packages);
    argv
}

/// Whether recommended packages are installed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recommends {
    /// With them.
    Yes,
    /// Without them.
    No,
}

/// Whether a shell would make something else of `text`.
pub fn is_for_shell(text: &str) -> bool {
    text.contains(['$', '`', '\\', '\'', '"'])
}

/// The script for the image's own shell that installs the words of a list, which pi-gen has as
/// part of such a line: `${ARCH:+nano}`.
pub fn install_by_shell(packages: &[String], recommends: Recommends) -> String {
    install(packages, recommends).join(" ") + "\n"
}

/// The script for the image's own shell that gives debconf its answers: an unquoted here-document,
/// so that `$NAME` and `${NAME}` are expanded, as in pi-gen.
pub fn answer(text: &str) -> String {
    let mut end = String::from("SELEOF");
    while text.lines().any(|line| line == end) {
        end.push('_');
    }
    let line_end = if text.ends_with('\n') { "" } else { "\n" };
    format!("debconf-set-selections <<{end}\n{text}{line_end}{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_comments_options_and_several_names_a_line() {
        let text = "# base\nless nano # editors\n\n-t trixie-backports\nfoo- bar/sid baz=1.0\n";
        assert_eq!(
            parse_list(text),
            [
                "less",
                "nano",
                "-t",
                "trixie-backports",
                "foo-",
                "bar/sid",
                "baz=1.0"
            ]
        );
    }

    #[test]
    fn what_a_shell_reads_is_left_to_one() {
        assert!(!is_for_shell(
            "less nano- -t trixie-backports bc/sid baz=1.0\n"
        ));
        let list = parse_list("${ARCH:+nano} # $5\nless\n");
        assert!(is_for_shell(&list.join(" ")));
        assert_eq!(
            install_by_shell(&list, Recommends::No),
            "apt-get install --yes --no-install-recommends ${ARCH:+nano} less\n"
        );
        assert_eq!(
            answer("a b select $X"),
            "debconf-set-selections <<SELEOF\na b select $X\nSELEOF\n"
        );
        assert!(answer("SELEOF\n").ends_with("\nSELEOF_\n"));
    }
}
