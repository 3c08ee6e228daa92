//! From the allow-list to the dispatcher's table: which twins there are, which versions
//! match, and which twins really start.

use super::native::{ToolsRoot, rename_architecture};
use crate::base::arch::debian_arch;
use crate::base::command::{Command, Program};
use crate::base::dpkg;
use crate::base::inside::Root;
use crate::base::tool::Tool;
use crate::config::Arch;
use crate::sandbox::rootfs::TOOLS_DIR;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ALLOW: &str = include_str!("allow.toml");

/// Programs that run natively for one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    #[allow(dead_code, reason = "for the reader of allow.toml")]
    reason: String,
    package: String,
    programs: Vec<String>,
    #[serde(default)]
    scripts: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    renamed: bool,
    #[serde(default)]
    perl: bool,
    #[serde(default)]
    python: bool,
}

#[derive(Debug, Deserialize)]
struct AllowList {
    family: Vec<Family>,
}

fn allow_list() -> Result<Vec<Family>> {
    let list: AllowList = toml::from_str(ALLOW).context("reading the allow-list")?;
    Ok(list.family)
}

/// The exporter makes file systems with the target suite's tools, so that the host's
/// version does not show in the image.
const FOR_EXPORT: &str = "e2fsprogs";

/// Every package the tools root must have.
pub fn packages() -> Result<BTreeSet<String>> {
    let families = allow_list()?;
    let twins = families
        .into_iter()
        .flat_map(|family| family.needs.into_iter().chain([family.package]));
    Ok(twins.chain([FOR_EXPORT.to_owned()]).collect())
}

/// Versions of packages by name.
pub type Versions = BTreeMap<String, String>;

/// The dispatcher's table for one target.
#[derive(Debug, Default)]
pub struct Table {
    /// Sorted lines in the form the dispatcher reads, without the emulator's.
    pub text: String,
    /// Packages that stay emulated although they are on the list, with the reason.
    pub left_out: Vec<String>,
}

impl Table {
    /// Makes the table for the target in `rootfs`, which may be empty or missing still. `dir` is
    /// the dispatch directory.
    ///
    /// What is not installed yet comes from the same archive state as the tools. Where the
    /// target takes packages from archives that the tools do not come from, `offered` has the
    /// versions it would install, and those must be the tools' too: a fork may be another
    /// program.
    pub fn new(
        arch: Arch,
        tools: &ToolsRoot,
        dir: &Path,
        rootfs: Option<&Root>,
        offered: Option<&Versions>,
    ) -> Result<Self> {
        let status = rootfs.map(|root| root.read_text(dpkg::STATUS, dpkg::LONGEST));
        let installed = installed_versions(&status.transpose()?.flatten().unwrap_or_default());
        let twins = Twins::new(arch, tools, dir)?;
        let mut lines = BTreeMap::new();
        let mut left_out = Vec::new();
        for family in allow_list()? {
            let name = &family.package;
            let Some(ours) = tools.versions.get(name) else {
                left_out.push(format!("{name}: not in the tools root"));
                continue;
            };
            let theirs = [
                (installed.get(name), "in the target"),
                (
                    offered.and_then(|offered| offered.get(name)),
                    "on offer to the target",
                ),
            ];
            let other = theirs
                .into_iter()
                .filter_map(|(version, place)| Some((version?, place)))
                .find(|(version, _)| source_version(ours) != source_version(version));
            match (other, theirs) {
                (Some((version, place)), _) => left_out.push(format!(
                    "{name}: {ours} in the tools root, {version} {place}"
                )),
                // Nothing of it can run.
                (None, [(None, _), (None, _)]) if offered.is_some() => {}
                _ => twins.add(&family, &mut lines)?,
            }
        }
        let text = lines
            .into_iter()
            .map(|(key, rest)| format!("{key}\t{rest}\n"))
            .collect();
        Ok(Self { text, left_out })
    }
}

/// A version without the mark of a binary rebuild (`+b1`), which architectures have apart, and
/// without the marks of the Raspberry Pi archive (`+rpt1`) and Raspbian (`+rpi1`) on a Debian
/// revision: what is left is the version of Debian that was changed.
///
/// A mark in the upstream part, or one with `~`, says that the program itself is another.
fn source_version(version: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let source = match version.rsplit_once("+b") {
        Some((source, rebuild)) if digits(rebuild) => source,
        _ => version,
    };
    let Some((upstream, revision)) = source.rsplit_once('-') else {
        return source.to_owned();
    };
    let is_mark = |part: &str| {
        ["rpt", "rpi"]
            .iter()
            .filter_map(|vendor| part.strip_prefix(vendor))
            .any(|number| number.split('.').all(digits))
    };
    let kept: Vec<&str> = revision.split('+').filter(|part| !is_mark(part)).collect();
    format!("{upstream}-{}", kept.join("+"))
}

/// The tools root as seen by the table: where twins are and how they are started.
pub(super) struct Twins<'a> {
    arch: Arch,
    root: PathBuf,
    dir: &'a Path,
    loader: String,
    libraries: String,
}

impl<'a> Twins<'a> {
    pub(super) fn new(arch: Arch, tools: &ToolsRoot, dir: &'a Path) -> Result<Self> {
        let root = tools.dir.join("root");
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let loader = [
            "usr/lib64/ld-linux-x86-64.so.2",
            "usr/lib/ld-linux-aarch64.so.1",
        ]
        .into_iter()
        .find(|path| root.join(path).exists())
        .context("finding the loader of the tools root")?;
        let libraries = ["", "/systemd"]
            .map(|below| format!("/{TOOLS_DIR}/usr/lib/{triplet}{below}"))
            .join(":");
        Ok(Self {
            arch,
            root,
            dir,
            loader: format!("/{TOOLS_DIR}/{loader}"),
            libraries,
        })
    }

    /// Adds the lines of one family for those of its programs that have a twin that starts.
    fn add(&self, family: &Family, lines: &mut BTreeMap<String, String>) -> Result<()> {
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
        Ok(())
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

/// Installed packages and their versions, from dpkg's `status` file.
fn installed_versions(status: &str) -> Versions {
    dpkg::installed(status)
        .filter_map(|package| {
            let field = |name| package.field(name).map(str::to_owned);
            Some((field("Package")?, field("Version")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_reason_and_resolved_paths() {
        for family in allow_list().unwrap() {
            assert!(!family.reason.is_empty(), "{}", family.package);
            assert!(
                family.programs.iter().all(|path| path.starts_with("/usr/")),
                "{}",
                family.package
            );
        }
    }

    #[test]
    fn nothing_that_reports_the_machine_is_listed() {
        let programs: BTreeSet<String> = allow_list()
            .unwrap()
            .into_iter()
            .flat_map(|family| family.programs)
            .collect();
        for never in [
            "/usr/bin/uname",
            "/usr/bin/arch",
            "/usr/bin/nproc",
            "/usr/bin/lscpu",
            "/usr/sbin/ldconfig",
            "/usr/bin/file",
        ] {
            assert!(!programs.contains(never), "{never}");
        }
    }

    #[test]
    fn rebuilds_of_one_source_are_the_same_program() {
        assert_eq!(source_version("3.11-4+b1"), "3.11-4");
        assert_eq!(source_version("1.0+beta-1"), "1.0+beta-1");
    }

    #[test]
    fn forks_are_the_same_program_only_with_debians_own_version() {
        for (fork, debian) in [
            ("9.7-3+rpt1", "9.7-3"),
            ("9.7-3+rpi1+b2", "9.7-3"),
            ("2.41-12+rpi1+deb13u1", "2.41-12+deb13u1"),
            ("1:1.2-3+rpt1.1", "1:1.2-3"),
        ] {
            assert_eq!(source_version(fork), debian);
        }
        for other in [
            "0.3+rpt20241119-1",
            "1.2-3~rpt1",
            "1.2-3+rpt",
            "1.2+rpi1",
            "1.2-0+rpt1",
        ] {
            assert_ne!(source_version(other), source_version("1.2-3"), "{other}");
            assert_ne!(source_version(other), source_version("0.3-1"), "{other}");
        }
    }

    #[test]
    fn versions_are_those_of_installed_packages() {
        let status = "Package: sed\nStatus: install ok installed\nVersion: 4.9-2\n\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n";
        assert_eq!(
            installed_versions(status),
            BTreeMap::from([("sed".to_owned(), "4.9-2".to_owned())])
        );
    }
}
