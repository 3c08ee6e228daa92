//! Whether everything in a lock file is what it is called.

use super::{LockFile, Root};
use crate::archives::package::is_architecture;
use anyhow::{Result, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeSet;
use std::path::Path;
use toml::Spanned;

impl LockFile {
    /// Everything in it must be what it is called: it came with a tree, from anywhere.
    pub(super) fn check_names(&self, path: &Path, text: &str) -> Result<()> {
        for (number, root) in self.roots.iter().enumerate() {
            let at = |package| format!("{}, line {}", path.display(), line(text, number, package));
            if let Some(what) = root.wrong() {
                bail!(
                    "{}: {what}; restore the file, or remove it and build again",
                    at(None)
                );
            }
            let mut names = BTreeSet::new();
            for (index, package) in root.packages.iter().enumerate() {
                let twice = || format!("{} is listed twice", package.file_name());
                let wrong = package.check().err();
                let wrong = wrong.or_else(|| (!names.insert(package.file_name())).then(twice));
                if let Some(what) = wrong {
                    let at = at(Some(index));
                    bail!("{at}: {what}; restore the file, or remove it and build again");
                }
            }
        }
        Ok(())
    }
}

impl Root {
    /// What is wrong with its own fields.
    fn wrong(&self) -> Option<String> {
        let word = |text: &str| {
            let part = |b: u8| b.is_ascii_alphanumeric() || b".+-~".contains(&b);
            text.bytes().all(part) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !word(&self.suite) {
            return Some(format!("{:?} cannot be the name of a suite", self.suite));
        }
        if !is_architecture(&self.architecture) {
            let architecture = &self.architecture;
            return Some(format!(
                "{architecture:?} is not one of Debian's architectures"
            ));
        }
        if !word(&self.archive) {
            return Some(format!("{:?} is no state of an archive", self.archive));
        }
        None
    }
}

/// The line in `text` of the root with this number, or of one of its packages.
fn line(text: &str, root: usize, package: Option<usize>) -> usize {
    #[derive(Deserialize)]
    struct Spans {
        root: Vec<Spanned<RootSpans>>,
    }
    #[derive(Deserialize)]
    struct RootSpans {
        packages: Vec<Spanned<IgnoredAny>>,
    }
    let spans = toml::from_str::<Spans>(text).ok();
    let span = spans.and_then(|spans| {
        let root = spans.root.get(root)?;
        match package {
            None => Some(root.span().start),
            Some(package) => Some(root.get_ref().packages.get(package)?.span().start),
        }
    });
    text[..span.unwrap_or(0)].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archives::lockfile::Use;
    use crate::archives::package::tests::package;
    use std::fs;

    #[test]
    fn what_is_no_package_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("westwork.lock");
        let mut lock = LockFile::default();
        lock.set(Root {
            purpose: Use::Image,
            distribution: "debian".to_owned(),
            suite: "trixie".to_owned(),
            architecture: "arm64".to_owned(),
            archive: "ff".to_owned(),
            date: 5,
            packages: vec![package("aa", "1"), package("bb", "1"), package("cc", "1")],
        });
        lock.save(&path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let refused = |from: &str, to: &str, line: &str, words: &str| {
            fs::write(&path, good.replace(from, to)).unwrap();
            let said = LockFile::load(&path).unwrap_err().to_string();
            let at = format!("westwork.lock, {line}: ");
            assert!(said.contains(&at) && said.contains(words), "{said}");
        };
        refused(
            "name = \"bb\"",
            "name = \"/tmp/bb\"",
            "line 14",
            "\"/tmp/bb\"",
        );
        refused("name = \"cc\"", "name = \"../cc\"", "line 15", "\"../cc\"");
        refused(
            "name = \"cc\"",
            "name = \"aa\"",
            "line 15",
            "aa_1_all.deb is listed twice",
        );
        refused(
            "suite = \"trixie\"",
            "suite = \"../x\"",
            "line 5",
            "\"../x\"",
        );
        refused(
            "architecture = \"arm64\"",
            "architecture = \"..\"",
            "line 5",
            "\"..\"",
        );
    }
}
