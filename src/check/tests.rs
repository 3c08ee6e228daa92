//! The build machine, with a search path of the test's own.

use super::needs::needed;
use super::{Plan, for_boot, found, judged, missing, most_layers, notes, problems_of, too_many};
use crate::base::arch::is_foreign;
use crate::base::problem::{Problem, Problems};
use crate::base::tool::{Task, Tool, search_path};
use crate::config::{Address, Arch, Loaded};
use crate::plan::fixture::{config, tree};
use std::collections::BTreeMap;

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
        places: BTreeMap::new(),
    };
    let (input, problems) = found(loaded, &[empty.path().to_owned()]);
    let error = judged(input, problems).unwrap_err();
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
        places: BTreeMap::new(),
    };
    let (input, problems) = found(loaded, &[empty.path().to_owned()]);
    let said = judged(input, problems).unwrap_err().to_string();
    assert!(said.starts_with("IMG_NAME is not set; set it\n"), "{said}");
    assert!(said.contains("bash is not installed"), "{said}");
}

#[test]
fn what_does_not_stand_in_the_way_is_said() {
    let dir = tree(&[("s/prerun.sh", "#!/bin/bash\n")]);
    let mut config = config(dir.path(), &["s"]);
    let (plan, _) = Plan::discover(&config);
    let said = |config: &_| notes(config, &plan).join("\n");
    assert!(!said(&config).contains("not encrypted"));
    config.cache_from = Some(Address::Url("http://192.0.2.1/c".to_owned()));
    assert!(said(&config).contains("CACHE_FROM: is not encrypted"));
    // What `boot --test` will need, while there is time to install it.
    let lacks = missing(&needed(Task::Boot, None), &search_path());
    assert_eq!(
        !lacks.is_empty(),
        said(&config).contains("apt install qemu-system-arm")
    );
    let empty = tempfile::tempdir().unwrap();
    let note = for_boot(&[empty.path().to_owned()]).unwrap();
    assert!(
        note.contains("boot --test") && note.contains("apt install"),
        "{note}"
    );
}

#[test]
fn steps_are_counted_against_the_layers_of_a_mount() {
    let mut files = vec![("s/prerun.sh", "#!/bin/bash\n"), ("s/EXPORT_IMAGE", "")];
    let (before, most) = (most_layers(Some((6, 6))), most_layers(Some((6, 7))));
    assert_eq!((before, most), (205, 490));
    let names: Vec<_> = (0..most).map(|n| format!("s/{n:03}/00-packages")).collect();
    files.extend(names.iter().map(|name| (name.as_str(), "")));
    let dir = tree(&files[..files.len() - 1]);
    let (plan, _) = Plan::discover(&config(dir.path(), &["s"]));
    assert_eq!((plan.depth(), too_many(&plan, most)), (most, None));
    assert!(too_many(&plan, before).is_some());
    // The steps of an export stand on those of its stage.
    std::fs::create_dir_all(dir.path().join("export/00-a")).unwrap();
    std::fs::write(dir.path().join("export/00-a/00-packages"), "").unwrap();
    let (plan, _) = Plan::discover(&config(dir.path(), &["s"]));
    let problem = too_many(&plan, most).unwrap();
    assert!(problem.what.starts_with("491 steps"), "{problem}");
}
