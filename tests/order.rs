//! What a build starts, in which order and with which variables: of all kinds of steps, images
//! and the export's tools. Nothing is run, so neither root nor a network nor an emulator is
//! needed.

#[path = "common/settings.rs"]
mod settings;

use settings::settings;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use westwork_gen::archives::mirror::Mirrors;
use westwork_gen::archives::state::State;
use westwork_gen::base::command::record::{Answer, Call, Recorder, Streams};
use westwork_gen::base::inside::Root;
use westwork_gen::base::tool::Tool;
use westwork_gen::config::{Config, ConfigRequest};
use westwork_gen::export::{ExportRequest, Ext4, export};
use westwork_gen::layers::job::Job;
use westwork_gen::layers::schedule::{Image, Schedule};
use westwork_gen::layers::seal::Seal;
use westwork_gen::layers::store::Store;
use westwork_gen::layers::variables::stage_work_dir;
use westwork_gen::pipeline::{Walk, carry_out, walk};
use westwork_gen::plan::Plan;
use westwork_gen::steps::script::Setting;

const SCRIPT: &str = "#!/bin/bash -e\ntrue\n";

/// Every kind of step, what is left out, and two images with a tree of export steps.
const TREE: &[(&str, &str)] = &[
    ("stage0/prerun.sh", SCRIPT),
    (
        "stage0/00-all/00-debconf",
        "locales locales/default select ${LOCALE_DEFAULT}\n",
    ),
    ("stage0/00-all/00-packages-nr", "small # alone\nother\n"),
    ("stage0/00-all/00-packages-ni", "quiet\n"),
    ("stage0/00-all/00-packages", "large\n"),
    ("stage0/00-all/00-patches/series", "one.diff\n"),
    (
        "stage0/00-all/00-patches/one.diff",
        "--- a/rootfs/x\n+++ b/rootfs/x\n",
    ),
    ("stage0/00-all/00-run.sh", SCRIPT),
    ("stage0/00-all/00-run-chroot.sh", "echo inside\n"),
    ("stage0/00-all/01-run.sh", SCRIPT),
    ("stage0/01-skipped/SKIP", ""),
    ("stage0/01-skipped/00-run.sh", SCRIPT),
    ("stage0/02-edit/00-patches/EDIT", ""),
    ("stage0/02-edit/00-patches/series", "# nothing yet\n"),
    ("stage1/SKIP", ""),
    ("stage1/00-never/00-run.sh", SCRIPT),
    ("stage2/prerun.sh", SCRIPT),
    ("stage2/EXPORT_IMAGE", "-lite\n"),
    ("stage2/00-empty/00-packages", "# none\n"),
    ("stage3/prerun.sh", SCRIPT),
    ("stage3/EXPORT_IMAGE", "-never\n"),
    ("stage3/SKIP_IMAGES", ""),
    ("stage4/prerun.sh", SCRIPT),
    ("stage4/EXPORT_IMAGE", "-full\n"),
    // Copies the root file system in pi-gen, which is nobody's step here.
    ("export-image/prerun.sh", SCRIPT),
    ("export-image/00-last/00-run-chroot.sh", "echo last\n"),
];

struct Tree {
    dir: tempfile::TempDir,
    config: Config,
    plan: Plan,
    state: State,
}

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in TREE {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let set = [
            "IMG_NAME=test",
            "STAGE_LIST=stage0 stage2 stage3 stage4 stage1",
            "FIRST_USER_NAME=ann",
            "LOCALE_DEFAULT=en_GB.UTF-8",
            "MIRROR=http://mirror.invalid/debian",
            "CACHE_DIR=cache",
        ];
        let loaded = Config::load(&ConfigRequest {
            cwd: dir.path().canonicalize().unwrap(),
            files: Vec::new(),
            set: set.map(str::to_owned).into(),
            env: BTreeMap::new(),
        });
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let config = loaded.config.unwrap();
        let (plan, problems) = Plan::discover(&config);
        assert!(problems.is_empty(), "{problems:?}");
        let state = State {
            id: "state".to_owned(),
            date: Some(1_700_000_000),
            tools: None,
        };
        Self {
            dir,
            config,
            plan,
            state,
        }
    }

    /// Walks through the build. The images are `image NAME` among the calls.
    fn walk(&self, recorder: &Recorder) -> Vec<String> {
        recorder.during(|| {
            let mirrors = Mirrors::resolve(&self.config);
            let seal = Seal::look(&self.config.work_dir).unwrap();
            let job = Job {
                seal: &seal,
                config: &self.config,
                plan: &self.plan,
                mirrors: &mirrors,
                state: &self.state,
                locked: None,
            };
            let mut schedule =
                Schedule::new(&job, &Store::at(&self.config.work_dir, "image"), None).unwrap();
            let mut walker = Walker {
                job,
                recorder: recorder.clone(),
                context: self.dir.path().join("context.json"),
                images: Vec::new(),
            };
            walk(&mut schedule, &mut walker).unwrap();
            walker.images
        })
    }
}

struct Walker<'a> {
    job: Job<'a>,
    recorder: Recorder,
    context: PathBuf,
    /// Name of each image, and how many calls there were before it.
    images: Vec<String>,
}

impl Walk for Walker<'_> {
    fn step(&mut self, schedule: &mut Schedule<'_>, index: usize) -> anyhow::Result<()> {
        let entry = &schedule.entries[index];
        let env = self.job.env(&entry.at);
        let setting = Setting {
            env: &env,
            context: &self.context,
        };
        let at = stage_work_dir(&self.job.work(), entry.at.stage);
        carry_out(entry.step, &at, &setting, &mut |_| ()).map(drop)
    }

    fn image(&mut self, _: &Schedule<'_>, image: &Image<'_>) -> anyhow::Result<()> {
        let calls = started(&self.recorder).len();
        self.images.push(format!("{calls} {}", image.export.suffix));
        Ok(())
    }
}

/// The calls of steps: those of `internal`.
fn started(recorder: &Recorder) -> Vec<Call> {
    let calls = recorder.calls().into_iter();
    calls
        .filter(|call| call.text().starts_with("westwork-gen internal"))
        .collect()
}

/// How a call is told, by what and with which streams it is started.
fn short(call: &Call) -> String {
    let kind = call.argv[2].to_string_lossy();
    let terminal = match call.streams {
        Streams::Terminal => " at the terminal",
        _ => "",
    };
    format!("{kind} {}{terminal}", call.line)
}

#[test]
fn steps_of_all_kinds_run_in_their_order() {
    let tree = Tree::new();
    let recorder = Recorder::new();
    let images = tree.walk(&recorder);
    let calls = started(&recorder);
    let edit = tree.dir.path().canonicalize().unwrap();
    let edit = edit.join("stage0/02-edit/00-patches/EDIT");
    let shell = format!("host the shell for {} at the terminal", edit.display());
    assert_eq!(
        calls.iter().map(short).collect::<Vec<_>>(),
        [
            "host stage0/prerun.sh",
            "chroot debconf-set-selections",
            "chroot apt-get install --yes --no-install-recommends small other",
            "chroot apt-get install --yes quiet",
            "chroot apt-get install --yes large",
            "host quilt --quiltrc - push -a",
            "host stage0/00-all/00-run.sh",
            "chroot stage0/00-all/00-run-chroot.sh",
            "host stage0/00-all/01-run.sh",
            &shell,
            "host stage2/prerun.sh",
            "chroot export-image/00-last/00-run-chroot.sh",
            "host stage3/prerun.sh",
            "host stage4/prerun.sh",
            "chroot export-image/00-last/00-run-chroot.sh",
        ]
    );
    // Each image right after its own export steps, and none where SKIP_IMAGES is.
    assert_eq!(images, ["12 -lite", "15 -full"]);
}

/// The call that is told as `line`.
fn call(recorder: &Recorder, line: &str) -> Call {
    let mut calls = started(recorder).into_iter();
    calls.find(|call| call.line.contains(line)).unwrap()
}

#[test]
fn steps_see_the_variables_that_are_theirs() {
    let tree = Tree::new();
    let recorder = Recorder::new();
    tree.walk(&recorder);
    let base = tree.dir.path().canonicalize().unwrap();
    let path = |path: &str| Some(base.join(path).display().to_string());

    let host = call(&recorder, "stage0/00-all/00-run.sh");
    assert_eq!(host.dir, Some(base.join("stage0/00-all")));
    assert_eq!(host.var("FIRST_USER_NAME").as_deref(), Some("ann"));
    assert_eq!(host.var("STAGE_DIR"), path("stage0"));
    assert_eq!(host.var("SUB_STAGE_DIR"), path("stage0/00-all"));
    assert_eq!(
        host.var("MIRROR").as_deref(),
        Some("http://mirror.invalid/debian")
    );
    assert_eq!(host.var("SOURCE_DATE_EPOCH").as_deref(), Some("1700000000"));

    // What is no script of the tree sees no settings.
    for line in ["apt-get install", "quilt"] {
        let call = call(&recorder, line);
        assert_eq!(call.var("FIRST_USER_NAME"), None, "{line}");
        assert_eq!(
            call.var("DEBIAN_FRONTEND").as_deref(),
            Some("noninteractive"),
            "{line}"
        );
    }
    // Answers with variables in them are the image's shell's.
    let answers = call(&recorder, "debconf-set-selections");
    assert_eq!(
        answers.var("LOCALE_DEFAULT").as_deref(),
        Some("en_GB.UTF-8")
    );
    assert_eq!(
        answers.input.unwrap(),
        b"debconf-set-selections <<SELEOF\n\
          locales locales/default select ${LOCALE_DEFAULT}\nSELEOF\n"
    );

    let quilt = call(&recorder, "quilt");
    assert_eq!(quilt.dir, Some(tree.config.work().join("stage0")));
    assert_eq!(quilt.var("QUILT_PATCHES"), path("stage0/00-all/00-patches"));

    let inside = call(&recorder, "stage0/00-all/00-run-chroot.sh");
    assert_eq!(inside.input.unwrap(), b"echo inside\n");
    assert!(
        inside
            .argv
            .contains(&tree.config.work().join("stage0/rootfs").into())
    );

    // A stage knows the one before it, an export step the stage that it exports.
    let next = call(&recorder, "stage2/prerun.sh");
    assert_eq!(next.var("PREV_STAGE").as_deref(), Some("stage0"));
    let exports: Vec<_> = started(&recorder)
        .into_iter()
        .filter(|call| call.line.starts_with("export-image/"))
        .map(|call| (call.var("EXPORT_DIR"), call.var("IMG_SUFFIX").unwrap()))
        .collect();
    let lite = (path("stage2"), "-lite".to_owned());
    assert_eq!(exports, [lite, (path("stage4"), "-full".to_owned())]);
}

/// The first step that fails is the last one.
#[test]
fn nothing_follows_a_failure() {
    let tree = Tree::new();
    let recorder = Recorder::answering(|call| Answer {
        code: if call.line.contains("apt-get install --yes quiet") {
            100
        } else {
            0
        },
        ..Answer::default()
    });
    let error = recorder.during(|| {
        let mirrors = Mirrors::resolve(&tree.config);
        let seal = Seal::look(&tree.config.work_dir).unwrap();
        let job = Job {
            seal: &seal,
            config: &tree.config,
            plan: &tree.plan,
            mirrors: &mirrors,
            state: &tree.state,
            locked: None,
        };
        let mut schedule =
            Schedule::new(&job, &Store::at(&tree.config.work_dir, "image"), None).unwrap();
        let mut walker = Walker {
            job,
            recorder: recorder.clone(),
            context: tree.dir.path().join("context.json"),
            images: Vec::new(),
        };
        walk(&mut schedule, &mut walker).unwrap_err()
    });
    assert_eq!(
        format!("{error:#}"),
        "apt-get install --yes quiet ended with 100"
    );
    let last = started(&recorder).pop().unwrap();
    assert_eq!(short(&last), "chroot apt-get install --yes quiet");
}

/// The boot partition is made and filled before the root, and by which programs.
#[test]
fn an_export_calls_its_tools_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (rootfs, scratch, deploy) = (
        dir.path().join("rootfs"),
        dir.path().join("s"),
        dir.path().join("d"),
    );
    for path in [
        &rootfs.join("boot/firmware/overlays"),
        &rootfs.join("etc"),
        &scratch,
        &deploy,
    ] {
        fs::create_dir_all(path).unwrap();
    }
    fs::write(rootfs.join("boot/firmware/cmdline.txt"), "root=ROOTDEV\n").unwrap();
    fs::write(rootfs.join("boot/firmware/overlays/a.dtbo"), "x").unwrap();
    fs::write(rootfs.join("etc/fstab"), "").unwrap();
    let root = Root::open(&rootfs).unwrap();
    let config = settings();
    // mke2fs ends badly, for nothing after it could go on without its work.
    let recorder = Recorder::answering(|call| Answer {
        code: i32::from(call.argv[0] == "mke2fs"),
        stdout: b"out of order\n".to_vec(),
        ..Answer::default()
    });
    let error =
        recorder.during(|| export(&request(&config, &root, &scratch, &deploy), &mut |_| ()));
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("out of order"), "{error}");
    let calls = recorder.calls();
    let programs: Vec<_> = calls
        .iter()
        .map(|call| call.argv[0].to_string_lossy())
        .collect();
    assert_eq!(programs, ["mkfs.fat", "mcopy", "mmd", "mcopy", "mke2fs"]);
    let epoch = |call: &Call| call.var("SOURCE_DATE_EPOCH");
    assert!(
        calls
            .iter()
            .all(|call| epoch(call).as_deref() == Some("1700000000"))
    );
    assert!(
        calls
            .iter()
            .all(|call| call.var("TZ").as_deref() == Some("UTC"))
    );
    assert_eq!(fs::read_dir(&deploy).unwrap().count(), 0);
}

fn request<'a>(
    config: &'a Config,
    rootfs: &'a Root,
    scratch: &'a Path,
    deploy: &'a Path,
) -> ExportRequest<'a> {
    ExportRequest {
        rootfs,
        scratch,
        config,
        deploy_dir: deploy,
        name: "image".into(),
        archive_name: "image".into(),
        source_date_epoch: 1_700_000_000,
        info_lines: Vec::new(),
        init_format: "none",
        record: serde_json::Value::Null,
        beside: Vec::new(),
        ext4: Ext4 {
            mke2fs: Tool::Mke2fs.into(),
            debugfs: Tool::Debugfs.into(),
        },
        mkfs_root: None,
    }
}
