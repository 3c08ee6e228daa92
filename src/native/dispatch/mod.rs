//! Native dispatch: ARM programs whose output does not depend on the processor run as their
//! native twins, everything else under qemu-user.
//!
//! binfmt_misc of the build's own namespace starts the [dispatcher](dispatcher.rs) for every
//! ARM program. What it may replace is [allow.toml](allow.toml); the twins come from the
//! [tools root](native). All of it is seen inside a chroot at `/.westwork-gen`:
//!
//! ```text
//! dispatch.table   program → twin with arguments, made by table.rs
//! emulator         qemu-user
//! usr/             the tools root's
//! packages/        the package pool, as the build sees it
//! quick/           quick forms of its packages
//! renamed/         dpkg's programs that take themselves for the target's
//! ```

mod allow;
pub mod native;
pub mod table;
mod twins;

pub use allow::packages;

use crate::base::inside::Root;
use crate::config::{Arch, Config};
use crate::sandbox::binfmt;
use crate::sandbox::mounts::bind;
use crate::sandbox::rootfs::TOOLS_DIR;
use anyhow::{Context, Result};
use native::ToolsRoot;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use table::Versions;
use twins::{Tried, Twins};

/// Compiled by build.rs.
const DISPATCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dispatcher"));

/// Whether native twins are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Yes.
    Native,
    /// No: everything is emulated.
    Emulate,
}

/// Where native twins come from.
struct Tools {
    root: ToolsRoot,
    twins: Twins,
    tried: Vec<Tried>,
}

/// How this build runs the target's programs.
pub struct Dispatch {
    dir: PathBuf,
    arch: Arch,
    cpu: String,
    tools: Option<Tools>,
    /// See [`table::Table::new`].
    offered: Option<Versions>,
}

impl Dispatch {
    /// Registers the dispatcher and lays out `dir`, which becomes a file system of its own.
    ///
    /// # Errors
    /// When the kernel has no binfmt_misc per user namespace (before Linux 6.7).
    pub fn new(config: &Config, emulator: &Path, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        mount(
            Some("tmpfs"),
            dir,
            Some("tmpfs"),
            MsFlags::MS_NOSUID,
            Some("mode=755"),
        )
        .with_context(|| format!("mounting a tmpfs at {}", dir.display()))?;
        let dispatcher = dir.join("dispatcher");
        fs::write(&dispatcher, DISPATCHER).context("placing the dispatcher")?;
        fs::set_permissions(&dispatcher, fs::Permissions::from_mode(0o755))
            .context("placing the dispatcher")?;
        fs::write(dir.join("emulator"), "").context("placing the emulator")?;
        bind(emulator, &dir.join("emulator"))?;
        binfmt::register(config.arch, &dispatcher)?;
        let dispatch = Self {
            dir: dir.to_owned(),
            arch: config.arch,
            cpu: config.qemu_cpu().to_owned(),
            tools: None,
            offered: None,
        };
        dispatch.write_table(&table::Table::default())?;
        Ok(dispatch)
    }

    /// Directory to be seen at [`TOOLS_DIR`] in a chroot.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes native twins from `tools` from now on. `offered` are the versions that the target
    /// would install, if it has archives that the tools do not come from.
    pub fn use_tools(&mut self, tools: ToolsRoot, offered: Option<Versions>) -> Result<()> {
        self.offered = offered;
        self.show(&tools.dir.join("root/usr"), "usr")?;
        let twins = Twins::new(self.arch, &tools, &self.dir)?;
        let tried = twins.tried()?;
        self.tools = Some(Tools {
            root: tools,
            twins,
            tried,
        });
        Ok(())
    }

    /// Lets dpkg-deb's twin unpack a package of the directory `pool` from the file of that name in
    /// `quick`, if it is there.
    ///
    /// # Errors
    /// When one of them cannot be shown.
    pub fn use_quick_forms(&self, pool: &Path, quick: &Path) -> Result<()> {
        self.show(pool, "packages")?;
        self.show(quick, "quick")
    }

    /// Shows the directory `what` as `name`, read-only.
    fn show(&self, what: &Path, name: &str) -> Result<()> {
        let at = self.dir.join(name);
        fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
        bind(what, &at)?;
        let read_only =
            MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | restrictions(&at)?;
        mount(None::<&str>, &at, None::<&str>, read_only, None::<&str>)
            .with_context(|| format!("making {} read-only", at.display()))
    }

    /// Decides, for a target whose dpkg database is below `rootfs`, what runs natively, and
    /// returns what is left to the emulator although it is on the list, with the reason.
    pub fn refresh(&self, rootfs: &Path) -> Result<Vec<String>> {
        let Some(tools) = &self.tools else {
            return Ok(Vec::new());
        };
        let offered = self.offered.as_ref();
        let root = Root::find(rootfs)?;
        let table = table::Table::new(&tools.root, &tools.tried, root.as_ref(), offered)?;
        self.write_table(&table)?;
        Ok(table.left_out)
    }

    /// A program of the tools root as something the host side can start, if it is there:
    /// `path` is relative to the root, e.g. `usr/sbin/mke2fs`.
    pub fn host_tool(&self, path: &str) -> Result<Option<PathBuf>> {
        let Some(tools) = self
            .tools
            .as_ref()
            .filter(|tools| tools.root.dir.join("root").join(path).exists())
        else {
            return Ok(None);
        };
        let there = tools.root.dir.join("root").join(path);
        let program = tools.twins.host_loader().arg(there);
        let name = Path::new(path)
            .file_name()
            .context("reading a program's name")?;
        let script = self.dir.join(name);
        fs::write(
            &script,
            format!("#!/bin/sh\nexec {} \"$@\"\n", program.line()),
        )
        .context("writing a tool's starter")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .context("writing a tool's starter")?;
        Ok(Some(script))
    }

    fn write_table(&self, table: &table::Table) -> Result<()> {
        let emulator = format!(
            "!\tn\t/{TOOLS_DIR}/emulator\t-cpu\t{}\t-0\t{{0}}\t{{path}}\n",
            self.cpu
        );
        // A new file each time: a running dispatcher may have the old one mapped.
        let new = self.dir.join("dispatch.table.new");
        fs::write(&new, emulator + &table.text).context("writing the dispatch table")?;
        fs::rename(&new, self.dir.join("dispatch.table")).context("writing the dispatch table")
    }
}

/// What the mount at `path` already forbids. One from outside of the user namespace (such as a
/// container's volume) cannot be made anew without it.
fn restrictions(path: &Path) -> Result<MsFlags> {
    let set = statvfs(path)
        .with_context(|| format!("looking at the mount of {}", path.display()))?
        .flags();
    let known = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    Ok(known
        .into_iter()
        .filter(|(flag, _)| set.contains(*flag))
        .map(|(_, flag)| flag)
        .collect())
}
