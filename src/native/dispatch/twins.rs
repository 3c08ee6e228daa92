//! Native twins: where they are in the tools root, how they are started, and which really start.

use super::allow::{Family, allow_list};
use super::native::{ToolsRoot, rename_architecture};
use crate::base::arch::debian_arch;
use crate::base::command::{Command, Program};
use crate::base::tool::Tool;
use crate::config::Arch;
use crate::sandbox::rootfs::TOOLS_DIR;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The tools root as the table needs it.
pub(super) struct Twins {
    arch: Arch,
    root: PathBuf,
    dir: PathBuf,
    loader: String,
    libraries: String,
}

/// A family of programs, and the lines of those of them that have a twin that starts.
pub(super) struct Tried {
    pub(super) family: Family,
    pub(super) lines: BTreeMap<String, String>,
}

/// The loader's own file, below the tools root. The name that programs know it by may be a link with
/// a path from `/` on (bookworm's is), which leads into the image when the tools are seen there.
fn loader(root: &Path, triplet: &str) -> Result<String> {
    ["ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"]
        .into_iter()
        .map(|name| format!("usr/lib/{triplet}/{name}"))
        .find(|path| fs::symlink_metadata(root.join(path)).is_ok_and(|meta| meta.is_file()))
        .context("finding the loader of the tools root")
}

impl Twins {
    pub(super) fn new(arch: Arch, tools: &ToolsRoot, dir: &Path) -> Result<Self> {
        let root = tools.dir.join("root");
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let loader = loader(&root, &triplet)?;
        let libraries = ["", "/systemd"]
            .map(|below| format!("/{TOOLS_DIR}/usr/lib/{triplet}{below}"))
            .join(":");
        Ok(Self {
            arch,
            root,
            dir: dir.to_owned(),
            loader: format!("/{TOOLS_DIR}/{loader}"),
            libraries,
        })
    }

    /// Tries every program of the list. It takes a tenth of a second, and the tools root stays as it
    /// is: once a build will do.
    ///
    /// # Errors
    /// When the tools root cannot be read.
    pub(super) fn tried(&self) -> Result<Vec<Tried>> {
        let tried = |family: Family| {
            let lines = self.lines(&family)?;
            Ok(Tried { family, lines })
        };
        allow_list()?.into_iter().map(tried).collect()
    }

    /// The lines of one family, for those of its programs that have a twin that starts.
    fn lines(&self, family: &Family) -> Result<BTreeMap<String, String>> {
        let mut lines = BTreeMap::new();
        let mode = if family.scripts.is_empty() { 'n' } else { 's' };
        for program in &family.programs {
            let Some((key, twin)) = self.twin(family, program)? else {
                continue;
            };
            let mut fields = vec![
                self.loader.clone(),
                "--argv0".to_owned(),
                "{0}".to_owned(),
                "--library-path".to_owned(),
                self.libraries.clone(),
                twin,
            ];
            fields.extend(
                family
                    .args
                    .iter()
                    .map(|arg| arg.replace("{arch}", self.arch.debian())),
            );
            fields.extend(family.quick.iter().map(|option| format!("&{option}")));
            if family.perl {
                fields.extend(self.perl_directories());
            }
            lines.insert(key.clone(), format!("{mode}\t{}", fields.join("\t")));
            for script in &family.scripts {
                // A program text can ask for anything; a known script is known.
                let unless: &[String] = if script == "-e" { &family.unless } else { &[] };
                let fields: Vec<&str> = std::iter::once("n")
                    .chain(unless.iter().map(String::as_str))
                    .collect();
                lines.insert(
                    format!("{key} {}", self.versioned(family, script)),
                    fields.join("\t"),
                );
            }
        }
        Ok(lines)
    }

    /// The real path of `program` and its twin's path in the chroot.
    fn twin(&self, family: &Family, program: &str) -> Result<Option<(String, String)>> {
        let inside = self.root.join(program.trim_start_matches('/'));
        let Ok(real) = inside.canonicalize() else {
            return Ok(None);
        };
        let Ok(below) =
            real.strip_prefix(self.root.canonicalize().context("finding the tools root")?)
        else {
            return Ok(None);
        };
        if !self.starts(&real) {
            return Ok(None);
        }
        let key = format!("/{}", below.display());
        if !family.renamed {
            return Ok(Some((key, format!("/{TOOLS_DIR}/{}", below.display()))));
        }
        let name = real.file_name().context("reading a program's name")?;
        let copy = self.dir.join("renamed").join(name);
        if !copy.exists() {
            rename_architecture(&real, &copy, debian_arch(), self.arch)?;
        }
        if name == "dpkg" && !self.takes_itself_for_target(&copy) {
            return Ok(None);
        }
        Ok(Some((
            key,
            format!("/{TOOLS_DIR}/renamed/{}", name.to_string_lossy()),
        )))
    }

    /// The loader on this side of the mount.
    pub(super) fn host_loader(&self) -> Command {
        let inside = |path: &str| {
            self.root.join(
                path.trim_start_matches('/')
                    .trim_start_matches(TOOLS_DIR)
                    .trim_start_matches('/'),
            )
        };
        let libraries: Vec<String> = self
            .libraries
            .split(':')
            .map(|path| inside(path).to_string_lossy().into_owned())
            .collect();
        Command::new(Program::At(inside(&self.loader), Tool::Loader))
            .arg("--library-path")
            .arg(libraries.join(":"))
    }

    /// Whether all libraries of a twin are there; one that cannot start is left to emulation.
    fn starts(&self, program: &Path) -> bool {
        // `--list` comes before the program and instead of running it.
        let list = self.host_loader().arg("--list").arg(program);
        list.output().is_ok_and(|output| output.status.success())
    }

    fn takes_itself_for_target(&self, dpkg: &Path) -> bool {
        let output = self
            .host_loader()
            .arg(dpkg)
            .arg("--print-architecture")
            .output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).trim() == self.arch.debian()
        })
    }

    /// Perl's directories with machine code; those with scripts only are the target's own.
    /// Each is there only while the target has it too: scripts ask for optional modules, and
    /// must find no more than they would under emulation.
    fn perl_directories(&self) -> Vec<String> {
        let base = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let mut directories = Vec::new();
        // In the order of perl's own @INC: vendor, core, base.
        for below in ["perl5", "perl"] {
            let entries = fs::read_dir(self.root.join(&base).join(below))
                .into_iter()
                .flatten()
                .flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            directories.extend(
                names
                    .filter(|name| name.starts_with('5'))
                    .map(|name| format!("{below}/{name}")),
            );
        }
        directories.sort_by_key(|dir| !dir.starts_with("perl5/"));
        directories.push("perl-base".to_owned());
        let triplet = self.arch.triplet();
        directories
            .into_iter()
            .map(|dir| format!("?/usr/lib/{triplet}/{dir}?-I/{TOOLS_DIR}/{base}/{dir}"))
            .collect()
    }

    /// `/usr/lib/python3*/…` with the version the tools root has.
    fn versioned(&self, family: &Family, script: &str) -> String {
        if !family.python || !script.contains("python3*") {
            return script.to_owned();
        }
        let real = self
            .root
            .join("usr/bin/python3")
            .canonicalize()
            .unwrap_or_default();
        let name = real
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        script.replace("python3*", &name)
    }
}
