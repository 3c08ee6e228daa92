//! Blocks of zeros that files of the tree have: `mke2fs -d` leaves them out. To programs that
//! need a file's blocks (swapon, or a database on a full disk) it would be another file then.
//!
//! A zero here and there is of no consequence, and a file that is read only is the smaller for
//! it: only files count that have a long run of zeros. Their blocks are allocated and marked as
//! not written, so that they are in the image as a hole and read as zeros.

use crate::base::command::Program;
use crate::base::inside::{Dir, Kind};
use crate::base::run::{Log, run};
use crate::base::sparse::{self, CHUNK};
use crate::export::disk::tree::BLOCK;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// So many blocks of zeros, one after the other, are a file that was allocated.
const RUN: u64 = 16;

/// A file, and its blocks of zeros that are not holes.
type Zeros = (PathBuf, Vec<Range<u64>>);

/// The files below `source` whose blocks are to be kept, in order.
fn find(source: &Dir) -> Result<Vec<Zeros>> {
    let found = Mutex::new(Vec::new());
    source.walk(|path, dir, entries| {
        for entry in entries.iter().filter(|entry| entry.kind == Kind::File) {
            let size = u64::try_from(dir.metadata(&entry.name)?.st_size)?;
            if size < RUN * BLOCK {
                continue;
            }
            let path = path.join(&entry.name);
            let zeros = dir.file(&entry.name).and_then(|file| zeros(&file, size));
            let zeros = zeros.with_context(|| format!("reading {}", path.display()))?;
            if zeros.iter().any(|run| run.end - run.start >= RUN) {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push((path, zeros));
            }
        }
        Ok(true)
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Runs of whole blocks of zeros in `file`, holes left out.
fn zeros(file: &File, size: u64) -> Result<Vec<Range<u64>>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; CHUNK];
    for part in sparse::data(file, size)? {
        let mut at = part.start - part.start % BLOCK;
        while at < part.end {
            let length = usize::try_from((part.end - at).min(CHUNK as u64))?;
            let chunk = &mut buffer[..length];
            file.read_exact_at(chunk, at)?;
            for block in chunk.chunks(BLOCK as usize) {
                let number = at / BLOCK;
                at += block.len() as u64;
                if !is_zero(block) {
                    continue;
                }
                match runs.last_mut().filter(|run| run.end == number) {
                    Some(run) => run.end += 1,
                    None => runs.push(number..number + 1),
                }
            }
        }
    }
    Ok(runs)
}

fn is_zero(block: &[u8]) -> bool {
    // Most blocks say so by their first byte.
    block.first() == Some(&0) && block.iter().all(|byte| *byte == 0)
}

/// Gives the files of `source` the blocks that they have there, in the file system at `start` of
/// `image` that was made of it. `env` is what `debugfs` is started with.
///
/// # Errors
/// When they do not fit, or a file is not there.
pub(super) fn keep(
    debugfs: Program,
    source: &Dir,
    (image, start): (&Path, u64),
    scratch: &Path,
    env: &[(&str, String)],
    log: Log<'_>,
) -> Result<()> {
    let found = find(source)?;
    if found.is_empty() {
        return Ok(());
    }
    let mut requests = Vec::new();
    for (path, zeros) in &found {
        let Some(name) = quoted(path) else {
            log(&format!(
                "{}: its blocks of zeros are left out",
                path.display()
            ));
            continue;
        };
        for run in zeros {
            let last = run.end - 1;
            requests.extend_from_slice(b"fallocate ");
            requests.extend_from_slice(&name);
            requests.extend_from_slice(format!(" {} {last}\n", run.start).as_bytes());
        }
    }
    let file = scratch.join("debugfs.requests");
    fs::write(&file, requests).with_context(|| format!("writing {}", file.display()))?;
    let mut device = image.as_os_str().to_owned();
    device.push(format!("?offset={start}"));
    let args = ["-w".into(), "-f".into(), file.into(), device];
    // It ends well whatever happens.
    let mut said = Vec::new();
    run(debugfs, &args, env, &mut |line| {
        if !line.starts_with("debugfs") {
            said.push(line.to_owned());
        }
    })?;
    ensure!(said.is_empty(), "debugfs: {}", said.join("; "));
    log(&format!("{} files keep their blocks of zeros", found.len()));
    Ok(())
}

/// A path as debugfs reads it, if it can.
fn quoted(path: &Path) -> Option<Vec<u8>> {
    let path = path.as_os_str().as_bytes();
    if path.contains(&b'\n') {
        return None;
    }
    let mut name = b"\"/".to_vec();
    for byte in path {
        // A quote within quotes is written twice.
        name.extend(std::iter::repeat_n(
            *byte,
            if *byte == b'"' { 2 } else { 1 },
        ));
    }
    name.push(b'"');
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inside::Root;
    use crate::base::tool::Tool;
    use std::process::Command;

    #[test]
    fn allocated_files_have_their_blocks_and_holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(source.join("a b")).unwrap();
        fs::write(source.join("swap"), vec![0; 1 << 20]).unwrap();
        // Data, a long run, and the end of a block.
        let mut mixed = vec![7; 10_000];
        mixed.resize(200_000, 0);
        mixed.extend([7; 10]);
        fs::write(source.join("a b/say \"x\""), &mixed).unwrap();
        let hole = File::create(source.join("hole")).unwrap();
        hole.set_len(1 << 20).unwrap();
        hole.write_all_at(&[7; 4096], 1 << 19).unwrap();
        // A single zero block, as programs have.
        let mut program = vec![7; 100_000];
        program[8192..12288].fill(0);
        fs::write(source.join("program"), &program).unwrap();
        let image = dir.path().join("image");
        let out = Command::new("mke2fs")
            .args([
                "-q",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-E",
                "offset=1048576",
                "-d",
            ])
            .args([&source, &image])
            .arg("16M")
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        let root = Root::open(&source).unwrap();
        let place = (image.as_path(), 1 << 20);
        let debugfs = || Tool::Debugfs.into();
        keep(debugfs(), root.top(), place, dir.path(), &[], &mut |_| ()).unwrap();
        let device = format!("{}?offset=1048576", image.display());
        let ask = |request: &str| {
            let out = Command::new("debugfs")
                .args(["-R", request, &device])
                .output();
            String::from_utf8(out.unwrap().stdout).unwrap()
        };
        for (path, blocks) in [
            ("/swap", 256),
            ("\"/a b/say \"\"x\"\"\"", mixed.len().div_ceil(4096)),
            ("/hole", 1),
            ("/program", 24),
        ] {
            let shown = ask(&format!("stat {path}"));
            let count = format!("Blockcount: {}\n", blocks * 8);
            assert!(shown.contains(&count), "{path}: {shown}");
        }
        assert!(ask("cat \"/a b/say \"\"x\"\"\"").as_bytes() == mixed);
        let whole = fs::read(&image).unwrap();
        let alone = dir.path().join("alone");
        fs::write(&alone, &whole[1 << 20..]).unwrap();
        let checked = Command::new("e2fsck")
            .arg("-fn")
            .arg(&alone)
            .output()
            .unwrap();
        assert!(checked.status.success(), "{checked:?}");
        fs::write(source.join("new"), vec![0; 1 << 20]).unwrap();
        let error = keep(debugfs(), root.top(), place, dir.path(), &[], &mut |_| ());
        assert!(error.unwrap_err().to_string().contains("/new"));
    }
}
