//! From a stack of layers to an image.

use super::{Build, told};
use crate::archives::lockfile;
use crate::base::digest;
use crate::base::events::{Part, Why, WhyKind};
use crate::base::inside::Root;
use crate::base::timings::{Row, disk_usage};
use crate::base::tool::Tool;
use crate::config::RootKind;
use crate::export::{self, ExportRequest, Ext4, finalise, traces};
use crate::layers::deployed;
use crate::layers::store::Key;
use crate::layers::variables::EXPORT_DEPLOY;
use crate::plan::Export;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Where the image's root file system is seen, below the work directory.
const AT: &str = "export-image";

impl<'a> Build<'a> {
    /// What the `.info` file says of where the image comes from.
    fn origin(&self, stack: &[Key]) -> Vec<String> {
        let config = self.job.config;
        vec![
            format!("builder: westwork-gen {}", env!("CARGO_PKG_VERSION")),
            format!(
                "suite: {:?} {} {}",
                config.distro,
                config.release,
                config.arch.debian()
            ),
            format!("archive state: {}", self.job.state.id),
            format!("layer: {}", stack.last().map_or("", Key::id)),
        ]
    }

    /// What the build record says of the build so far.
    fn record(&self) -> serde_json::Value {
        let step = |row: &Row| {
            json!({
                "step": row.name,
                "seconds": row.wall.as_secs_f64(),
                "processor_seconds": row.processor.as_secs_f64(),
                "emulated_seconds": row.emulated.as_secs_f64(),
                "bytes_written": row.written,
            })
        };
        json!({
            "builder": {"name": "westwork-gen", "version": env!("CARGO_PKG_VERSION")},
            "config": self.job.config.for_record(),
            "archive": self.job.state,
            "lock": self.lock(),
            "layers": self.progress.steps,
            // Steps that were kept from an earlier build took no time in this one.
            "timings": self.timings.rows().iter().map(step).collect::<Vec<_>>(),
        })
    }

    /// The lock file that decided on the packages; null if none did.
    fn lock(&self) -> serde_json::Value {
        let path = lockfile::path_of(self.job.config);
        let sum = self
            .job
            .locked
            .as_ref()
            .and_then(|_| digest::of_file(&path).ok());
        sum.map_or(serde_json::Value::Null, |sum| json!({"sha256": sum}))
    }

    /// Makes the image of the layers in `stack`, unless it lies in the deploy directory already.
    /// Says whether it was made. `host_name` is the build machine's, which must not be in it.
    pub(super) fn export(
        &mut self,
        stack: &[Key],
        export: &Export,
        host_name: &str,
    ) -> Result<bool> {
        let image = export.image.clone();
        let key = deployed::image_key(self.job, stack, export)?;
        if let Some(files) = self.deployed.current(&image, &key) {
            self.output.say(&format!("cached  {image}"));
            let why = Why::new(WhyKind::There, "it is in the deploy directory");
            told::cached(&image, Part::Image, why);
            told::artefacts(&files, true);
            files
                .iter()
                .for_each(|file| self.output.say(&format!("        {}", file.display())));
            return Ok(false);
        }
        let begun = told::begun(&image, Part::Image, None, &self.timings);
        let made = self.make_image(stack, export, key, host_name);
        begun.ended(&made, &self.timings);
        told::artefacts(&made?, false);
        Ok(true)
    }

    /// Makes the image of the layers in `stack`, which `key` stands for. The files that it made
    /// or changed in the deploy directory.
    fn make_image(
        &mut self,
        stack: &[Key],
        export: &Export,
        key: String,
        host_name: &str,
    ) -> Result<Vec<PathBuf>> {
        let config = self.job.config;
        let mark = self.timings.begin();
        let at = self.work.join(AT);
        // Of its own name: another build of the same command may be exporting too.
        let scratch_name = format!("export-{}-{}", config.img_name, config.arch.debian());
        let scratch = self.store.scratch(&scratch_name, stack, &at)?;
        let rootfs = Root::open(&at.join("rootfs"))?;
        finalise::finalise(&rootfs, config, self.job.mirrors)?;
        traces::none_left(&rootfs, config, host_name)?;
        let name = format!("export{}", export.suffix);
        let directory = scratch.directory()?;
        let request = self.request(stack, export, &rootfs, &directory)?;
        let mut output = self.output.step(&name);
        match export::export(&request, &mut |line| output.line(line)) {
            Ok(exported) => {
                output.done();
                let written = exported.files.iter().map(|file| disk_usage(file)).sum();
                self.timings.end(&mark, &request.name, written);
                let all = [exported.files.clone(), exported.shared].concat();
                all.iter()
                    .for_each(|file| self.output.say(&format!("        {}", file.display())));
                // Other images may publish files of the tree's own under the same names.
                let mut own = exported.files;
                own.retain(|file| {
                    let same = |other: &PathBuf| other.file_name() == file.file_name();
                    !request.beside.iter().any(same)
                });
                self.deployed.record(&export.image, key, &own)?;
                self.deployed.save(&self.work)?;
                Ok(all)
            }
            Err(cause) => {
                let last_lines = output.failed();
                Err(self.failure(&name, last_lines, cause))
            }
        }
    }

    /// What is asked of the exporter for the image of the layers in `stack`, which is at `rootfs`.
    fn request<'r>(
        &self,
        stack: &[Key],
        export: &Export,
        rootfs: &'r Root,
        scratch: &'r Path,
    ) -> Result<ExportRequest<'r>>
    where
        'a: 'r,
    {
        let config = self.job.config;
        let image = export.image.clone();
        Ok(ExportRequest {
            rootfs,
            scratch,
            config,
            deploy_dir: &config.deploy_dir,
            name: image.clone(),
            archive_name: export.archive.clone(),
            source_date_epoch: self.job.epoch(),
            info_lines: self.origin(stack),
            init_format: export::init_format(rootfs, &config.disk),
            record: self.record(),
            beside: left_to_deploy(&self.work.join(AT).join(EXPORT_DEPLOY), export)?,
            ext4: Ext4 {
                mke2fs: self.suites_own(Tool::Mke2fs, "usr/sbin/mke2fs")?,
                debugfs: self.suites_own(Tool::Debugfs, "usr/sbin/debugfs")?,
            },
            mkfs_root: match config.disk.root {
                RootKind::Ext4 => None,
                RootKind::Squashfs => {
                    Some(self.suites_own(Tool::Mksquashfs, "usr/bin/mksquashfs")?)
                }
                RootKind::Erofs => Some(self.suites_own(Tool::MkfsErofs, "usr/bin/mkfs.erofs")?),
            },
        })
    }
}

/// What export steps left in `dir` for the deploy directory. What is called as the exporter's own
/// artefacts of the image is not: it was made of an empty image file.
fn left_to_deploy(dir: &Path, export: &Export) -> Result<Vec<PathBuf>> {
    let own = |name: &str| {
        [&export.image, &export.archive].iter().any(|stem| {
            let rest = name.strip_prefix(stem.as_str());
            rest.is_some_and(|rest| rest.starts_with('.'))
        })
    };
    // A link there could lead to files of the machine.
    if dir.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
        bail!(
            "{} is no directory: an export step has put something else there",
            dir.display()
        );
    }
    let mut files = Vec::new();
    for entry in WalkDir::new(dir).max_depth(1).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            // No step has made the directory.
            Err(_) if !dir.exists() => break,
            Err(error) => return Err(error).context("reading what the export steps left"),
        };
        if entry.file_type().is_file() && !own(&entry.file_name().to_string_lossy()) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}
