//! How large the image is, and how much it grew.

use super::spec::Sizes;
use super::subject::Subject;
use crate::base::size::size;
use crate::images::image::probe::FileSystem;
use anyhow::{Context, Result};

/// What is larger than it may be. `before` is what was used of an earlier image's root, bytes.
pub(super) fn look(test: &Sizes, subject: &Subject, before: Option<u64>) -> Result<Vec<String>> {
    let used = |facts: &Option<FileSystem>, what: &str| {
        let used = facts.as_ref().and_then(|facts| facts.used);
        used.with_context(|| format!("what is used of {what} cannot be told"))
    };
    let mut faults = Vec::new();
    let mut compare = |what: &str, most: u64, found: u64| {
        if found > most {
            let over = size(found - most);
            let (found, most) = (size(found), size(most));
            faults.push(format!("{what} is {found}, {over} more than {most}"));
        }
    };
    if let Some(most) = test.image {
        compare("the raw image", most.0, subject.raw_size);
    }
    if let Some(most) = test.file {
        compare("the file", most.0, subject.file_size);
    }
    if let Some(most) = test.root {
        let found = used(&subject.root_facts, "the root file system")?;
        compare("what the root file system uses", most.0, found);
    }
    if let Some(most) = test.boot {
        let found = used(&subject.boot_facts, "the boot partition")?;
        compare("what the boot partition uses", most.0, found);
    }
    if let Some(growth) = test.growth {
        let before = before.context("growth needs an earlier image; name it with --against")?;
        let found = used(&subject.root_facts, "the root file system")?;
        let most = growth.most(before);
        if found > most {
            faults.push(format!(
                "what the root file system uses grew from {} to {}, more than {}",
                size(before),
                size(found),
                size(most)
            ));
        }
    }
    Ok(faults)
}
