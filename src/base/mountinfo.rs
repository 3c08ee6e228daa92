//! The kernel's table of mounts: proc_pid_mountinfo(5).

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// `major:minor` of its file system.
    pub(crate) number: String,
    /// Where it is.
    pub(crate) at: String,
    /// Type of its file system, such as `ext4`.
    pub(crate) kind: String,
    /// What is mounted: a device, or a word.
    pub(crate) source: String,
}

/// The mounts of this process; `root` stands before `/proc`.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn mounts(root: &Path) -> Result<Vec<Mount>> {
    let path = root.join("proc/self/mountinfo");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().filter_map(mount).collect())
}

/// Optional fields lie between the first six and a lone dash.
fn mount(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let front: Vec<&str> = front.split(' ').collect();
    let mut back = back.split(' ');
    Some(Mount {
        number: (*front.get(2)?).to_owned(),
        at: unescape(front.get(4)?),
        kind: back.next()?.to_owned(),
        source: unescape(back.next()?),
    })
}

/// Blanks, tabs, newlines and backslashes are three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok())
        {
            Some(code) => {
                plain.push(char::from(code));
                plain += &part[3..];
            }
            None => plain = format!("{plain}\\{part}"),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_and_unescaped() {
        let line = "36 35 98:0 /root /mnt\\0402\\134040\\011x rw,noatime master:1 shared:2 - ext3 /dev/a\\040b rw";
        let mount = mount(line).unwrap();
        assert_eq!(mount.number, "98:0");
        assert_eq!(mount.at, "/mnt 2\\040\tx");
        assert_eq!((&*mount.kind, &*mount.source), ("ext3", "/dev/a b"));
        assert_eq!(super::mount("36 35 98:0 / /mnt rw"), None);
    }

    #[test]
    fn this_process_has_a_proc() {
        let mounts = mounts(Path::new("/")).unwrap();
        assert!(
            mounts
                .iter()
                .any(|mount| mount.at == "/proc" && mount.kind == "proc")
        );
    }
}
