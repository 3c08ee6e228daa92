//! Package steps: lists, debconf answers, and the build's own apt configuration.

use crate::base::command::Env;
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

/// Replaces `${NAME}` by the variable's value; unknown names are left as they are.
pub fn expand(text: &str, env: &Env) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        expanded += &rest[..start];
        let after = &rest[start + 2..];
        let value = after
            .find('}')
            .and_then(|end| Some((env.get(&after[..end])?, end)));
        match value {
            Some((value, end)) => {
                expanded += value;
                rest = &after[end + 1..];
            }
            None => {
                expanded += "${";
                rest = after;
            }
        }
    }
    expanded + rest
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
    fn only_known_variables_are_expanded() {
        let env = Env::from([("LOCALE_DEFAULT".to_owned(), "en_GB.UTF-8".to_owned())]);
        assert_eq!(
            expand("a ${LOCALE_DEFAULT} ${OTHER} $X ${", &env),
            "a en_GB.UTF-8 ${OTHER} $X ${"
        );
    }
}
