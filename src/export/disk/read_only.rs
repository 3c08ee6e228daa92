//! Root file systems that can only be read: squashfs and erofs. Their size is known
//! only when they are made, so they are made first and copied into the image.

use super::layout::FileSystem;
use crate::base::command::Program;
use crate::base::inside::Dir;
use crate::base::run::{Log, run};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::Path;

/// Makes the file `to` from the tree `rootfs`, without what is below `left_out`
/// (paths relative to the root). `program` is mksquashfs or mkfs.erofs. No time
/// stamp is later than `epoch`, seconds; in erofs each is `epoch`.
pub(crate) fn make(
    program: Program,
    format: &FileSystem,
    rootfs: &Dir,
    left_out: &[&str],
    to: &Path,
    epoch: i64,
    log: Log<'_>,
) -> Result<()> {
    let lent = rootfs.lend()?;
    let mut args: Vec<OsString> = Vec::new();
    match format {
        FileSystem::Squashfs => {
            args.extend([lent.path().into(), to.into()]);
            // mksquashfs sorts names, and bounds times by SOURCE_DATE_EPOCH.
            let fixed =
                "-noappend -quiet -no-progress -comp zstd -Xcompression-level 12 -wildcards -e";
            args.extend(fixed.split(' ').map(OsString::from));
            args.extend(left_out.iter().map(|path| format!("{path}/*").into()));
            args.extend(left_out.iter().map(|path| format!("{path}/.*").into()));
        }
        FileSystem::Erofs { uuid } => {
            args.extend(["-zlz4hc,9".into(), format!("-T{epoch}").into()]);
            args.push(format!("-U{uuid}").into());
            for path in left_out {
                args.push(format!("--exclude-regex=^{}/", escaped(path)).into());
            }
            args.extend(["--quiet".into(), to.into(), lent.path().into()]);
        }
        _ => bail!("making {} as a read-only root", format.name()),
    }
    let env = [("SOURCE_DATE_EPOCH", epoch.to_string())];
    run(program, &args, &env, log).context("making the root file system")
}

/// A path as a POSIX regular expression that means it alone.
fn escaped(path: &str) -> String {
    let special = |c: char| ".[]*+?^$(){}|\\".contains(c);
    path.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect()
}
