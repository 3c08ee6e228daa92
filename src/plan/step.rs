//! One step of a sub-stage: a file whose name says what is done with it.

use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// What a step's file is, decided once from its name. Steps of one number run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub enum StepKind {
    /// `prerun.sh` of a stage: host script.
    #[serde(rename = "prerun")]
    Prerun,
    /// `NN-debconf`.
    #[serde(rename = "debconf")]
    Debconf,
    /// `NN-packages-nr`: without recommended packages.
    #[serde(rename = "packages-nr")]
    PackagesNoRecommends,
    /// `NN-packages-ni`: non-interactively.
    #[serde(rename = "packages-ni")]
    PackagesNonInteractive,
    /// `NN-packages`.
    #[serde(rename = "packages")]
    Packages,
    /// `NN-patches/`: a quilt series.
    #[serde(rename = "patches")]
    Patches,
    /// `NN-run.sh`: host script.
    #[serde(rename = "run")]
    RunHost,
    /// `NN-run-chroot.sh` or `NN-run-chroot`.
    #[serde(rename = "run-chroot")]
    RunChroot,
}

/// A file or directory of a stage tree that is to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done with it.
    pub kind: StepKind,
    /// The step's file (for patches: directory), absolute.
    pub path: PathBuf,
    /// `stage1/02-net-tweaks/00-run.sh`: how the user is told about it.
    pub name: String,
}

/// Suffixes of step names, as `NN-SUFFIX`.
const SUFFIXES: [(&str, StepKind); 8] = [
    ("debconf", StepKind::Debconf),
    ("packages-nr", StepKind::PackagesNoRecommends),
    ("packages-ni", StepKind::PackagesNonInteractive),
    ("packages", StepKind::Packages),
    ("patches", StepKind::Patches),
    ("run.sh", StepKind::RunHost),
    ("run-chroot.sh", StepKind::RunChroot),
    ("run-chroot", StepKind::RunChroot),
];

/// How much a suffix may differ from a right one and still be taken for a slip.
const SLIP: usize = 1;

/// What the name of a file in a sub-stage says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepName {
    /// No number: not a step.
    Data,
    /// `NN-SUFFIX`.
    Step {
        /// 0 to 99.
        number: u8,
        /// What SUFFIX stands for.
        kind: StepKind,
    },
    /// Begins with a number, but is like no step's name: passed over.
    Other,
    /// Nearly a step's name.
    Wrong {
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        remedy: String,
    },
}

impl StepName {
    /// Judges the last component of a path.
    pub fn read(name: &str) -> Self {
        let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = name.split_at(digits);
        let known = |suffix: &str| SUFFIXES.iter().find(|(right, _)| *right == suffix);
        let suffix = match rest.strip_prefix('-') {
            Some(suffix) if !number.is_empty() => suffix,
            // `00_packages` and `00packages` would be left out without a word.
            _ => match rest.trim_start_matches(['_', '.', ' ']) {
                near if !number.is_empty() && known(near).is_some() => near,
                _ => return Self::Data,
            },
        };
        match (number.parse(), known(suffix)) {
            (Ok(parsed), Some((_, kind))) if digits == 2 && rest.starts_with('-') => Self::Step {
                number: parsed,
                kind: *kind,
            },
            _ => Self::wrong(number, suffix, known(suffix).is_some()),
        }
    }

    fn wrong(number: &str, suffix: &str, known: bool) -> Self {
        let distance = |right: &str| strsim::osa_distance(suffix, right);
        let nearest = SUFFIXES
            .iter()
            .map(|(right, _)| *right)
            .min_by_key(|right| distance(right))
            .filter(|right| distance(right) <= SLIP);
        let Some(nearest) = nearest else {
            return Self::Other;
        };
        let what = match (known, number.len()) {
            (false, _) => format!("`{suffix}` is not what a step can be called"),
            (true, 2) => "a step is called by two digits and a hyphen".to_owned(),
            (true, _) => "a step's number has two digits".to_owned(),
        };
        let number = number.parse::<u8>().ok().filter(|number| *number < 100);
        let right = number.map_or_else(
            || format!("NN-{nearest}"),
            |number| format!("{number:02}-{nearest}"),
        );
        Self::Wrong {
            what,
            remedy: format!("rename it to {right}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SUFFIXES, StepKind, StepName};

    #[test]
    fn every_suffix_is_a_step() {
        for (suffix, kind) in SUFFIXES {
            assert_eq!(
                StepName::read(&format!("07-{suffix}")),
                StepName::Step { number: 7, kind }
            );
        }
        assert!(
            StepKind::Debconf < StepKind::PackagesNoRecommends
                && StepKind::RunHost < StepKind::RunChroot
        );
    }

    #[test]
    fn names_without_a_number_are_data() {
        for name in [
            "files",
            "README.md",
            "run.sh",
            "SKIP",
            "-x",
            "7",
            "2nd",
            "10.conf",
            "é",
        ] {
            assert_eq!(StepName::read(name), StepName::Data, "{name}");
        }
    }

    #[test]
    fn wrong_names_get_the_nearest_right_one() {
        for (name, right) in [
            ("0-packages", "00-packages"),
            ("00-package", "00-packages"),
            ("5-run.sh", "05-run.sh"),
            ("007-run.sh", "07-run.sh"),
            ("123-run.sh", "NN-run.sh"),
            ("00-run-chrot.sh", "00-run-chroot.sh"),
            ("00-packages_nr", "00-packages-nr"),
            ("00_debconf", "00-debconf"),
            ("01-run.sh~", "01-run.sh"),
        ] {
            let StepName::Wrong { remedy, .. } = StepName::read(name) else {
                panic!("{name} is taken for right");
            };
            assert_eq!(remedy, format!("rename it to {right}"), "{name}");
        }
    }

    #[test]
    fn a_name_like_no_other_is_passed_over() {
        for name in [
            "00-run.sh.orig",
            "01-notes.md",
            "01-files",
            "99-com.rules",
            "00-holiday",
        ] {
            assert_eq!(StepName::read(name), StepName::Other, "{name}");
        }
    }
}
