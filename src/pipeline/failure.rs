//! What is said when a step does not succeed.

use super::Build;
use crate::archives::trouble;
use crate::base::disk;
use crate::base::timings::disk_usage;
use std::fmt;
use std::path::PathBuf;

/// A step that did not succeed, with what one needs to mend it.
#[derive(Debug)]
pub struct StepFailure {
    step: String,
    last_lines: Vec<String>,
    log: PathBuf,
    /// What is known of the reason: file systems without room, what the archive did.
    reasons: Vec<String>,
    cause: anyhow::Error,
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.last_lines {
            writeln!(f, "  | {line}")?;
        }
        writeln!(f, "{} failed: {:#}", self.step, self.cause)?;
        for text in &self.reasons {
            writeln!(f, "  {text}")?;
        }
        writeln!(f, "  the whole log:   {}", self.log.display())?;
        writeln!(f, "  to look inside:  westwork-gen shell")?;
        write!(f, "  once mended:     westwork-gen build --continue")
    }
}

impl std::error::Error for StepFailure {}

impl Build<'_> {
    /// The error that ends the build when `step` did not succeed.
    pub(super) fn failure(
        &self,
        step: &str,
        last_lines: Vec<String>,
        cause: anyhow::Error,
    ) -> anyhow::Error {
        StepFailure {
            step: step.to_owned(),
            reasons: self
                .full(&last_lines, &cause)
                .into_iter()
                .chain(walled(&last_lines))
                .chain(trouble::explain(&last_lines, self.job.config))
                .collect(),
            last_lines,
            log: self.output.log_path().to_owned(),
            cause,
        }
        .into()
    }

    /// What is to be said of file systems without room, if that may be why a step failed.
    fn full(&self, last_lines: &[String], cause: &anyhow::Error) -> Vec<String> {
        const NO_ROOM: &str = "No space left on device";
        let config = self.job.config;
        let places = [
            ("WORK_DIR", config.work_dir.as_path()),
            ("CACHE_DIR", &config.cache_dir),
            ("DEPLOY_DIR", &config.deploy_dir),
        ];
        let certain = last_lines.iter().any(|line| line.contains(NO_ROOM))
            || format!("{cause:#}").contains(NO_ROOM);
        let mut full = disk::full(&places, certain);
        if !full.is_empty() {
            let written = self.progress.failed.as_ref();
            let written = written.map_or(0, |(_, key)| disk_usage(&self.store.failed_dir(key)));
            full.push(format!(
                "the step had written {} MiB by then; make room and say --continue",
                written >> 20
            ));
        }
        full
    }
}

/// What is to be said when a script wanted what is not opened to it.
fn walled(lines: &[String]) -> Vec<String> {
    let mut said = Vec::new();
    if lines
        .iter()
        .any(|line| line.contains("Read-only file system"))
    {
        said.push(
            "a script may write to its root file system, WORK_DIR and DEPLOY_DIR; \
             HOST_PATHS=\"/some/dir:rw\" in the config opens more of this machine to it"
                .to_owned(),
        );
    }
    let missing = lines
        .iter()
        .filter(|line| line.contains("No such file or directory"))
        .flat_map(|line| line.split([' ', '\'', '"', '\u{2018}', '\u{2019}', '`', ',']))
        .map(|word| word.trim_end_matches([':', '.', ')']))
        .find(|word| UNSEEN.iter().any(|dir| word.starts_with(dir)));
    if let Some(path) = missing {
        said.push(format!(
            "a script does not see {path} of this machine; if it is there, \
             HOST_PATHS=\"{path}\" in the config opens it"
        ));
    }
    said
}

/// Where people keep what a build does not see unless it is named.
const UNSEEN: [&str; 9] = [
    "/data/", "/home/", "/media/", "/mnt/", "/opt/", "/root/", "/run/", "/srv/", "/var/",
];

#[cfg(test)]
mod tests {
    use super::walled;

    #[test]
    fn what_is_not_opened_is_named() {
        let lines = |text: &str| vec![text.to_owned()];
        let said = walled(&lines(
            "cp: cannot stat '/srv/blobs/a.bin': No such file or directory",
        ));
        assert!(
            said[0].contains("HOST_PATHS=\"/srv/blobs/a.bin\""),
            "{said:?}"
        );
        let said = walled(&lines("touch: cannot touch '/x': Read-only file system"));
        assert!(said[0].contains(":rw"), "{said:?}");
        assert!(walled(&lines("cat: files/a: No such file or directory")).is_empty());
    }
}
