//! A schedule in words: what `plan` and `why` print.

use crate::layers::schedule::{Entry, Reason, Schedule, Verdict};
use anyhow::{Result, bail};
use std::fmt;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "not built yet"),
            Self::Follows(step) => write!(f, "because {step} runs again"),
            Self::Gone => write!(
                f,
                "its layer is gone, or was not yet on the disk when the machine stopped"
            ),
            Self::Changed(changes) => match changes.as_slice() {
                [one] => write!(f, "{one}"),
                [first, rest @ ..] => write!(f, "{first}, and {} more", rest.len()),
                [] => write!(f, "changed"),
            },
        }
    }
}

impl<'a> Schedule<'a> {
    /// The steps of the stage `at`, or the step of that name.
    ///
    /// # Errors
    /// When there is no such stage or step.
    pub(super) fn named(&self, at: &str) -> Result<Vec<&Entry<'a>>> {
        let at = at.trim_end_matches('/');
        let within = format!("{at}/");
        let is_named = |name: &str| name == at || name.starts_with(&within);
        let entries = self.entries.iter();
        let found: Vec<_> = entries
            .filter(|entry| is_named(&entry.record.name))
            .collect();
        if found.is_empty() {
            bail!("there is no stage or step {at}; `westwork-gen plan` lists them");
        }
        Ok(found)
    }

    /// What differs for the stage or step `at` from the layers last built, for people.
    ///
    /// # Errors
    /// When there is no such stage or step.
    pub fn why(&self, at: &str) -> Result<String> {
        let mut text = String::new();
        for entry in self.named(at)? {
            let name = &entry.record.name;
            text += &match &entry.verdict {
                Verdict::Cached => format!("{name} does not run: its layer is there\n"),
                Verdict::Kept(_) if entry.at.stage.kept => {
                    format!("{name} does not run: SKIP keeps its layer\n")
                }
                Verdict::Kept(_) => format!(
                    "{name} does not run: the interrupted build made its layer, and is resumed\n"
                ),
                Verdict::Run(reason @ (Reason::New | Reason::Gone | Reason::Follows(_))) => {
                    format!("{name} runs: {reason}\n")
                }
                Verdict::Run(Reason::Changed(_)) => format!("{name} runs:\n"),
            };
            if let Verdict::Run(Reason::Changed(changes)) | Verdict::Kept(changes) = &entry.verdict
            {
                changes
                    .iter()
                    .for_each(|change| text += &format!("  {change}\n"));
            }
        }
        Ok(text)
    }
}

impl fmt::Display for Schedule<'_> {
    /// A line for each step: `cached`, or `run` and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .entries
            .iter()
            .map(|entry| entry.record.name.len())
            .max()
            .unwrap_or(0);
        for (index, entry) in self.entries.iter().enumerate() {
            let name = &entry.record.name;
            match &entry.verdict {
                Verdict::Cached => writeln!(f, "cached  {name}")?,
                Verdict::Kept(_) => writeln!(f, "kept    {name}")?,
                Verdict::Run(reason) => writeln!(f, "run     {name:width$}  {reason}")?,
            }
            for image in self.images_of(index) {
                writeln!(f, "        -> image {:?}", image.export.suffix)?;
            }
        }
        Ok(())
    }
}
