//! Where packages come from: the config, else the host's own apt sources.

use crate::command::Command;
use crate::config::Config;

/// Archive addresses of one build. An empty text leaves the choice to the bootstrap tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Debian's main archive.
    pub build: String,
    /// Debian's security archive.
    pub security: String,
}

impl Mirrors {
    /// `MIRROR` if set, else the first Debian archive the host itself uses.
    pub fn resolve(config: &Config) -> Self {
        let host = Self::of_host();
        // Some servers do not take two slashes for one.
        let plain = |address: String| address.trim_end_matches('/').to_owned();
        Self {
            build: plain(config.mirror.clone().unwrap_or(host.build)),
            security: plain(host.security),
        }
    }

    /// The lines of apt sources a native root of the same archive state needs: `suites` are
    /// those besides the release itself (`updates`, `security`).
    pub fn sources(&self, release: &str, components: &str, suites: &[&str]) -> Vec<String> {
        let mut lines = vec![format!("deb {} {release} {components}", self.build)];
        for suite in suites {
            let mirror = if *suite == "security" {
                &self.security
            } else {
                &self.build
            };
            if !mirror.is_empty() {
                lines.push(format!("deb {mirror} {release}-{suite} {components}"));
            }
        }
        lines
    }

    fn of_host() -> Self {
        // A host without apt has no sources to offer; that is an answer, not an error.
        let targets = Command::new("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(LABEL)|$(REPO_URI)",
                "Created-By: Packages",
            ])
            .read()
            .unwrap_or_default();
        Self::from_targets(&targets)
    }

    /// From lines of `LABEL|URI`, as apt-get(8) `indextargets` prints them.
    fn from_targets(text: &str) -> Self {
        let first = |wanted: &str| {
            text.lines()
                .filter_map(|line| line.split_once('|'))
                .find(|(label, uri)| *label == wanted && uri.starts_with("http"))
                .map(|(_, uri)| uri.trim_end_matches('/').to_owned())
                .unwrap_or_default()
        };
        Self {
            build: first("Debian"),
            security: first("Debian-Security"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mirrors;

    #[test]
    fn suites_come_from_the_archive_that_has_them() {
        let mirrors = Mirrors {
            build: "http://m/debian".to_owned(),
            security: String::new(),
        };
        let lines = mirrors.sources("trixie", "main", &["updates", "security"]);
        assert_eq!(
            lines,
            [
                "deb http://m/debian trixie main",
                "deb http://m/debian trixie-updates main"
            ]
        );
    }

    #[test]
    fn the_hosts_debian_archives_are_told_apart() {
        let text = "Other|http://other.example/apt/\nDebian|http://m.example/debian/\nDebian-Security|http://m.example/sec/\nDebian|http://n.example/debian/\n";
        let mirrors = Mirrors::from_targets(text);
        assert_eq!(mirrors.build, "http://m.example/debian");
        assert_eq!(mirrors.security, "http://m.example/sec");
    }
}
