//! Files, directories and links.

use super::spec::{self, Names, On};
use super::subject::Subject;
use crate::images::image::tree::{Inode, Kind, Tree};
use crate::images::printable::printable;
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Bytes of a file that is searched for texts.
const LARGEST: u64 = 64 << 20;

/// What is wrong with the file.
pub(super) fn look(test: &spec::File, subject: &Subject) -> Result<Vec<String>> {
    match test.on {
        On::Root => on_root(test, subject),
        On::Boot => on_boot(test, subject),
    }
}

fn on_root(test: &spec::File, subject: &Subject) -> Result<Vec<String>> {
    let root = subject.root()?;
    let itself = root.lookup_link(test.path.as_bytes())?;
    // A link is looked at itself only by those who ask for it.
    let of_link = test.target.is_some() || test.kind == Some(spec::Type::Symlink);
    let found = match itself {
        Some(link) if link.kind == Kind::Symlink && !of_link && test.exists => {
            root.lookup(&test.path)?
        }
        other => other,
    };
    let Some(inode) = found else {
        let fault = "it is not there".to_owned();
        return Ok(test.exists.then_some(fault).into_iter().collect());
    };
    if !test.exists {
        return Ok(vec![format!("it is there, a {}", inode.kind.name())]);
    }
    let mut faults = about(test, subject, &inode)?;
    if let Some(wanted) = &test.target {
        faults.extend(wrong_target(root, &inode, wanted)?);
    }
    let reads = test.contains.is_some() || test.lacks.is_some() || test.matches.is_some();
    if inode.kind != Kind::File {
        if reads || test.sha256.is_some() {
            faults.push(format!("it is a {}", inode.kind.name()));
        }
        return Ok(faults);
    }
    if reads {
        faults.extend(in_text(test, &root.read(&inode, LARGEST)?));
    }
    if let Some(wanted) = &test.sha256 {
        let mut sum = Sha256::new();
        root.pieces(&inode, |piece| {
            sum.update(piece);
            Ok(())
        })?;
        faults.extend(other_sum(wanted, &hex::encode(sum.finalize())));
    }
    Ok(faults)
}

/// What is wrong with the properties of an inode.
fn about(test: &spec::File, subject: &Subject, inode: &Inode) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    if let Some(kind) = test.kind.filter(|kind| kind.kind() != inode.kind) {
        let wanted = kind.kind().name();
        faults.push(format!("it is a {}, not a {wanted}", inode.kind.name()));
    }
    if let Some(mode) = test.mode.filter(|mode| mode.0 != inode.mode) {
        faults.push(format!(
            "its mode is {:04o}, not {:04o}",
            inode.mode, mode.0
        ));
    }
    if let Some(owner) = &test.owner {
        let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
        let ids = [
            ("owner", user, inode.uid, "/etc/passwd"),
            ("group", group, inode.gid, "/etc/group"),
        ];
        for (what, wanted, id, list) in ids.into_iter().filter(|(_, wanted, ..)| !wanted.is_empty())
        {
            let names = names(&subject.text(list)?);
            let number = wanted.parse().ok().or_else(|| names.get(wanted).copied());
            let number = number.with_context(|| format!("{list} of the image has no {wanted}"))?;
            if number != id {
                let name = names.iter().find(|(_, number)| **number == id);
                let name = name.map_or_else(|| id.to_string(), |(name, _)| printable(name));
                faults.push(format!("its {what} is {name}, not {wanted}"));
            }
        }
    }
    if let Some(when) = test.not_before.filter(|when| inode.mtime < when.0) {
        faults.push(format!(
            "it was changed at {}, before {}",
            time(inode.mtime),
            time(when.0)
        ));
    }
    Ok(faults)
}

fn wrong_target(root: &Tree, inode: &Inode, wanted: &str) -> Result<Option<String>> {
    if inode.kind != Kind::Symlink {
        return Ok(Some(format!("it is a {}, not a link", inode.kind.name())));
    }
    let target = root.target(inode)?;
    Ok((target != wanted.as_bytes()).then(|| {
        let target = printable(&String::from_utf8_lossy(&target));
        format!("it leads to {target}, not {wanted}")
    }))
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Names and numbers of passwd(5) or group(5).
pub(super) fn names(text: &str) -> Names {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn on_boot(test: &spec::File, subject: &Subject) -> Result<Vec<String>> {
    if test.mode.is_some() || test.owner.is_some() || test.target.is_some() {
        bail!("a FAT has no modes, owners or links");
    }
    if test.kind.is_some() || test.not_before.is_some() {
        bail!(
            "only whether a file is there, and what it holds, is looked at on the boot partition"
        );
    }
    let content = subject
        .boot()?
        .read(test.path.trim_start_matches('/'), LARGEST)?;
    let Some(content) = content else {
        let fault = "it is not there".to_owned();
        return Ok(test.exists.then_some(fault).into_iter().collect());
    };
    if !test.exists {
        return Ok(vec!["it is there".to_owned()]);
    }
    let mut faults = in_text(test, &content);
    if let Some(wanted) = &test.sha256 {
        faults.extend(other_sum(wanted, &hex::encode(Sha256::digest(&content))));
    }
    Ok(faults)
}

fn in_text(test: &spec::File, content: &[u8]) -> Vec<String> {
    super::texts::look(
        content,
        test.contains.as_ref(),
        test.lacks.as_ref(),
        test.matches.as_ref(),
    )
}

fn other_sum(wanted: &super::words::Digest, found: &str) -> Option<String> {
    (wanted.0 != found).then(|| format!("its SHA-256 is {found}"))
}
