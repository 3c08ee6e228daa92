//! The build machine, with a search path of the test's own.

use super::{all, missing, problems_of};
use crate::base::arch::is_foreign;
use crate::base::problem::{Problem, Problems};
use crate::base::tool::{Task, Tool, search_path};
use crate::config::{Arch, Loaded};
use crate::plan::fixture::{config, tree};

#[test]
fn a_hidden_emulator_is_reported_with_its_package() {
    let empty = tempfile::tempdir().unwrap();
    let dirs = [empty.path().to_owned()];
    let tools = [
        Tool::Emulator(Arch::Arm64),
        Tool::Newuidmap,
        Tool::Newgidmap,
    ];
    let problems = problems_of(Task::Build, &tools, &dirs);
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "qemu-aarch64-static is not installed, but needed to run the image's programs on this machine; \
             apt install qemu-user-static, or build --install-deps",
            "newuidmap and newgidmap are not installed, but needed to work without being root; \
             apt install uidmap, or build --install-deps",
        ]
    );
}

#[test]
fn what_is_installed_is_not_missing() {
    assert!(missing(&[Tool::Bash], &search_path()).is_empty());
}

#[test]
fn settings_tree_and_machine_are_reported_together() {
    let dir = tree(&[
        ("s/a/00-run.sh", ""),
        ("s/a/0-packages", ""),
        ("s/a/01-packags", ""),
    ]);
    let empty = tempfile::tempdir().unwrap();
    let loaded = Loaded {
        config: Some(config(dir.path(), &["s"])),
        problems: vec![
            Problem::new("misspelt", "spell it right"),
            Problem::new("no such format", "use xz"),
        ],
    };
    let error = all(loaded, &[empty.path().to_owned()]).unwrap_err();
    let Problems(problems) = error.downcast_ref().unwrap();
    let remedies: Vec<_> = problems
        .iter()
        .map(|problem| problem.remedy.as_str())
        .collect();
    let chmod = format!("chmod +x {}", dir.path().join("s/a/00-run.sh").display());
    let tree = [
        "spell it right",
        "use xz",
        "rename it to 00-packages",
        &chmod,
        "rename it to 01-packages",
    ];
    assert_eq!(remedies[..5], tree);
    let emulator = "apt install qemu-user-static, or build --install-deps";
    assert_eq!(remedies.contains(&emulator), is_foreign(Arch::Arm64));
    assert!(!dir.path().join("work").exists());
}

#[test]
fn unreadable_settings_do_not_hide_the_machine() {
    let empty = tempfile::tempdir().unwrap();
    let loaded = Loaded {
        config: None,
        problems: vec![Problem::new("IMG_NAME is not set", "set it")],
    };
    let said = all(loaded, &[empty.path().to_owned()])
        .unwrap_err()
        .to_string();
    assert!(said.starts_with("IMG_NAME is not set; set it\n"), "{said}");
    assert!(said.contains("bash is not installed"), "{said}");
}
