//! `internal`: parts of a build that this program runs in processes of their own.

use super::{clean, request};
use crate::base::inside::Root;
use crate::base::problem;
use crate::base::tool::Tool;
use crate::cli::{ExportArgs, Internal};
use crate::config::{self, Config};
use crate::export;
use crate::layers::context::{self, Context};
use crate::native::{cross, python};
use crate::steps::{bootstrap, script};
use anyhow::{Context as _, Result};
use std::path::Path;

pub(super) fn run_internal(internal: Internal) -> Result<u8> {
    let told = || Context::load(Path::new(context::PATH));
    let code = match internal {
        Internal::Empty { work_dir } => return clean::empty(&work_dir),
        Internal::Host { told, argv } => script::run_on_host(&told.context, &argv)?,
        Internal::Chroot {
            told,
            script,
            root,
            argv,
        } => script::run_in_chroot(&told.context, &root, script.is_some(), &argv)?,
        Internal::Bootstrap(words) => {
            bootstrap::bootstrap(&words, &told()?)?;
            0
        }
        Internal::CrossBuild(request) => {
            cross::cross_build(&request, &told()?)?;
            0
        }
        Internal::PythonEnv(request) => {
            python::environment(&request, &told()?)?;
            0
        }
        Internal::Mounts(args) => {
            let mounts = config::mounts::list(&request(&args)?);
            mounts.iter().for_each(|line| println!("{line}"));
            0
        }
        Internal::Export(args) => {
            export_tree(&args)?;
            0
        }
    };
    u8::try_from(code).context("reading an exit code")
}

/// Exports `args.root` with the settings of `args.config` that concern an export.
fn export_tree(args: &ExportArgs) -> Result<()> {
    let mut request = request(&args.config)?;
    request.set.push(format!("IMG_NAME={}", args.name));
    // The stages do not matter, but a config has some.
    request
        .set
        .push(format!("STAGE_LIST={}", args.root.display()));
    let loaded = Config::load(&request);
    problem::Problems(loaded.problems).into_result()?;
    let config = loaded.config.context("reading the settings")?;
    // The user's own path may be a link.
    let root = args.root.canonicalize();
    let root = root.with_context(|| format!("finding {}", args.root.display()))?;
    let rootfs = Root::open(&root)?;
    let scratch = tempfile::tempdir_in(&args.deploy_dir).context("making a directory")?;
    let exported = export::export(
        &export::ExportRequest {
            rootfs: &rootfs,
            scratch: scratch.path(),
            config: &config,
            deploy_dir: &args.deploy_dir,
            name: args.name.clone(),
            archive_name: args.name.clone(),
            source_date_epoch: config.source_date_epoch.unwrap_or(0),
            info_lines: Vec::new(),
            init_format: "none",
            record: serde_json::Value::Null,
            beside: Vec::new(),
            ext4: export::Ext4 {
                mke2fs: Tool::Mke2fs.into(),
                debugfs: Tool::Debugfs.into(),
            },
            mkfs_root: match config.disk.root {
                config::RootKind::Ext4 => None,
                config::RootKind::Squashfs => Some(Tool::Mksquashfs.into()),
                config::RootKind::Erofs => Some(Tool::MkfsErofs.into()),
            },
        },
        &mut |line| eprintln!("{line}"),
    )?;
    for file in exported.files.iter().chain(&exported.shared) {
        println!("{}", file.display());
    }
    Ok(())
}
