//! The file system that the work directory is, or will be, on.

use crate::base::disk::free;
use crate::base::problem::Problem;
use nix::sys::statfs::statfs;
use nix::unistd::{AccessFlags, access};
use std::path::{Path, PathBuf};

/// File systems that cannot hold a root file system or the upper layer of an overlay.
const UNFIT: [(u32, &str); 11] = [
    (0x794c_7630, "overlayfs"),
    (0x6969, "NFS"),
    (0x4d44, "FAT"),
    (0x2011_bab0, "exFAT"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE (sshfs and the like)"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x5346_544e, "NTFS"),
    (0x7366_746e, "NTFS"),
    (0xf15f, "eCryptfs"),
];

const GIB: u64 = 1 << 30;
/// What an image of average size takes, with its layers.
const USUAL: u64 = 6 * GIB;

/// Kind of file system, write access, extended attributes, free space.
/// `least` is the room in bytes without which a build is not begun.
pub(super) fn problems(work_dir: &Path, least: u64) -> Vec<Problem> {
    let place = existing(work_dir);
    let elsewhere = "set WORK_DIR to a directory on ext4, btrfs or xfs";
    let mut problems = Vec::new();
    if !place.is_dir() {
        problems.push(
            Problem::new("this is not a directory", "set WORK_DIR to another place").at(&place),
        );
        return problems;
    }
    if let Some(name) = unfit(&place) {
        let what = format!("this is {name}, which cannot hold the layers of a build");
        problems.push(Problem::new(what, elsewhere).at(&place));
    }
    if access(&place, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let remedy = "set WORK_DIR to a directory of yours";
        problems.push(Problem::new("nothing can be written here", remedy).at(&place));
    } else if let Some(error) = attributes(&place) {
        let what = format!("extended attributes user.* cannot be set here: {error}");
        problems.push(Problem::new(what, elsewhere).at(&place));
    }
    problems.extend(
        free(&place)
            .and_then(|free| scarce(free, least))
            .map(|problem| problem.at(&place)),
    );
    problems
}

/// The directory itself or its nearest parent that exists.
pub(super) fn existing(dir: &Path) -> PathBuf {
    dir.ancestors()
        .find(|dir| dir.exists())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "magic numbers have 32 bits"
)]
fn unfit(place: &Path) -> Option<&'static str> {
    let magic = statfs(place).ok()?.filesystem_type().0 as u32;
    UNFIT
        .iter()
        .find(|(unfit, _)| *unfit == magic)
        .map(|(_, name)| *name)
}

/// What goes wrong when an attribute is set on a file that is gone again afterwards.
fn attributes(place: &Path) -> Option<std::io::Error> {
    let file = match tempfile::NamedTempFile::new_in(place) {
        Ok(file) => file,
        Err(error) => return Some(error),
    };
    xattr::set(file.path(), "user.westwork-gen", b"1").err()
}

fn scarce(free: u64, least: u64) -> Option<Problem> {
    (free < least).then(|| {
        let what = format!(
            "{:.1} GiB are free here, less than MIN_FREE; a build takes {} GiB as a rule",
            gib(free),
            USUAL / GIB
        );
        Problem::new(
            what,
            "make room, set WORK_DIR to a larger file system, or MIN_FREE to less",
        )
    })
}

#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

#[cfg(test)]
mod tests {
    use super::{GIB, existing, problems, scarce};
    use std::fs;

    #[test]
    fn looks_at_the_nearest_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(&dir.path().join("a/b")), dir.path());
        assert_eq!(existing(dir.path()), dir.path());
    }

    #[test]
    fn a_file_is_no_work_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("work"), "").unwrap();
        let problems = problems(&dir.path().join("work"), 0);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].what, "this is not a directory");
    }

    #[test]
    fn leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        problems(&dir.path().join("work"), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn little_room_is_a_problem() {
        assert!(scarce(3 * GIB, 3 * GIB).is_none());
        let problem = scarce(5 * GIB / 2, 3 * GIB).unwrap();
        assert_eq!(
            problem.what,
            "2.5 GiB are free here, less than MIN_FREE; a build takes 6 GiB as a rule"
        );
    }
}
