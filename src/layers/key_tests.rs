//! What decides that a step runs again.

use super::*;
use std::os::unix::fs::PermissionsExt;

struct Case {
    seal: Seal,
    dir: tempfile::TempDir,
    stage: Stage,
    step: Step,
}

fn case(script: &str) -> Case {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("00-run.sh");
    fs::write(&path, script).unwrap();
    Case {
        seal: Seal::look(dir.path()).unwrap(),
        stage: Stage {
            name: "stage0".into(),
            dir: dir.path().to_owned(),
            skip: false,
            kept: false,
            prerun: None,
            sub_stages: Vec::new(),
            export: None,
        },
        step: Step {
            kind: StepKind::RunHost,
            path,
            name: "stage0/00-run.sh".into(),
        },
        dir,
    }
}

fn files(case: &Case) -> Files<'_> {
    let config = crate::plan::fixture::config(case.dir.path(), &[]);
    Files::new(&case.seal, Tree::of(&config), case.dir.path(), None)
}

fn with(case: &Case, env: &Env) -> Result<Inputs> {
    let reads = BTreeSet::new();
    let found = files(case).inputs(&case.step, &case.stage, env, &reads);
    found.map(|found| found.inputs)
}

fn inputs(case: &Case) -> Inputs {
    let env = [("HAT", "red"), ("ARCH", "arm64"), ("FIRST_USER_PASS", "x")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    with(case, &Env::from(env)).unwrap()
}

#[test]
fn touching_a_file_changes_nothing_but_editing_and_chmod_do() {
    let case = case("true\n");
    let first = inputs(&case);
    fs::write(&case.step.path, "true\n").unwrap();
    assert_eq!(first, inputs(&case));
    fs::set_permissions(&case.step.path, fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(first, inputs(&case));
    fs::write(case.dir.path().join("data"), "").unwrap();
    assert!(inputs(&case).contains_key("file data"));
}

#[test]
fn variables_count_where_they_can_be_seen() {
    let has =
        |script: &str, name: &str| inputs(&case(script)).contains_key(&format!("variable {name}"));
    assert!(has("echo $HAT\n", "HAT"));
    assert!(!has("echo $HATS\n", "HAT"));
    assert!(has("env > file\n", "HAT"));
    assert!(has("echo ${!name}\n", "HAT"));
    assert!(!has("#!/usr/bin/env bash\ntrue\n", "HAT"));
    assert!(has("true\n", "ARCH"));
    let with_data = case("true\n");
    fs::write(with_data.dir.path().join("helper.sh"), "echo $HAT\n").unwrap();
    assert!(inputs(&with_data).contains_key("variable HAT"));
}

#[test]
fn a_secret_is_kept_as_a_keyed_hash_only() {
    let case = case("echo $FIRST_USER_PASS\n");
    let made = inputs(&case);
    let kept = &made["secret FIRST_USER_PASS"];
    assert_eq!(*kept, case.seal.hash("FIRST_USER_PASS", "x"));
    assert!(!made.contains_key("variable FIRST_USER_PASS") && has_secret(&made));
    assert!(
        !made
            .values()
            .any(|value| *value == crate::layers::facts::hash("x"))
    );
    let env = Env::from([("FIRST_USER_PASS".to_owned(), String::new())]);
    assert!(!has_secret(&with(&case, &env).unwrap()));
}

#[test]
fn what_a_stage_says_of_its_variables_is_no_input_but_a_secret_of_it_is_hashed() {
    let quiet = case("echo $ARCH\n");
    let before = inputs(&quiet);
    let contract = "[HAT]\nhelp = \"x\"\nsecret = true\n";
    fs::write(quiet.dir.path().join("variables.toml"), contract).unwrap();
    assert_eq!(before, inputs(&quiet));
    let open = case("echo $HAT\n");
    let variable = Variable {
        name: "HAT".to_owned(),
        file: open.dir.path().join("variables.toml"),
        line: 1,
        declared: toml::from_str("help = \"x\"\nsecret = true\n").unwrap(),
        value: None,
        set: true,
    };
    let env = Env::from([("HAT".to_owned(), "hunter2".to_owned())]);
    let files = files(&open).with_secrets(&[variable]);
    let found = files.inputs(&open.step, &open.stage, &env, &BTreeSet::new());
    let made = found.unwrap().inputs;
    assert!(has_secret(&made) && !format!("{made:?}").contains("hunter2"));
}

#[test]
fn an_address_with_a_password_is_a_secret_under_any_name() {
    let case = case("true\n");
    let address = "http://me:hunter2@mirror.example/debian";
    let env = Env::from([("MIRROR".to_owned(), address.to_owned())]);
    let made = with(&case, &env).unwrap();
    assert!(has_secret(&made) && !format!("{made:?}").contains("hunter2"));
}

#[test]
fn a_declaration_narrows_and_widens() {
    let narrow = case("# inputs: used\ntrue\n");
    fs::write(narrow.dir.path().join("used"), "").unwrap();
    fs::write(narrow.dir.path().join("unused"), "").unwrap();
    let seen = inputs(&narrow);
    assert!(seen.contains_key("file used") && !seen.contains_key("file unused"));
    let wrong = case("true\n# inputs: nothing\n");
    let error = with(&wrong, &Env::new()).unwrap_err().to_string();
    assert!(error.contains("line 2: the inputs name nothing"), "{error}");
}

#[test]
fn an_edited_part_of_the_program_makes_the_steps_run_again_that_it_takes_part_in() {
    const FUNCTIONS: &str = "steps/functions.sh";
    static EDITED: &[Part] = &[Part {
        name: FUNCTIONS,
        text: "log() { :; }\n",
        is_for: is_host,
    }];
    let mut case = case("true\n");
    let of = |case: &Case, engine| {
        let files = Files {
            engine,
            ..files(case)
        };
        let reads = BTreeSet::new();
        let found = files.inputs(&case.step, &case.stage, &Env::new(), &reads);
        found.unwrap().inputs
    };
    let name = format!("westwork-gen's {FUNCTIONS}");
    for kind in [StepKind::RunHost, StepKind::Prerun] {
        case.step.kind = kind;
        let (now, edited) = (of(&case, PARTS), of(&case, EDITED));
        assert_ne!(now[&name], edited[&name], "{kind:?}");
        // What bootstrap is called with, what a script sees, and where it failed.
        for part in ["steps/bootstrap.rs", "pipeline/view.rs", "steps/trace.rs"] {
            assert!(
                now.contains_key(&format!("westwork-gen's {part}")),
                "{part}"
            );
        }
    }
    for kind in [StepKind::RunChroot, StepKind::Packages, StepKind::Debconf] {
        case.step.kind = kind;
        let now = of(&case, PARTS);
        assert!(!now.contains_key(&name), "{kind:?}");
        assert!(now.contains_key("westwork-gen's sandbox/stand_ins.rs"));
    }
}

/// Inputs of a step of `tree`/stage1 that has opened `files` and `directories` of the tree.
fn reading(tree: &Path, files: &[&str], directories: &[&str]) -> (Inputs, Inputs) {
    let dir = tree.join("stage1");
    let path = dir.join("00-a/00-run.sh");
    let config = crate::plan::fixture::config(tree, &["stage1"]);
    let (plan, _) = crate::plan::Plan::discover(&config);
    let step = plan.steps().find(|step| step.path == path).unwrap();
    let seal = Seal::look(tree).unwrap();
    let known = Files::new(&seal, Tree::of(&config), tree, None);
    let reads = files.iter().map(|name| Read::File(tree.join(name)));
    let names = directories
        .iter()
        .map(|name| Read::Directory(tree.join(name)));
    let env = Env::from([("HAT".to_owned(), "red".to_owned())]);
    let found = known.inputs(step, &plan.stages[0], &env, &reads.chain(names).collect());
    let found = found.unwrap();
    (found.inputs, found.before)
}

#[test]
fn what_a_script_opened_besides_its_stage_counts_and_can_be_found_again_by_name() {
    let dir = crate::plan::fixture::tree(&[
        ("stage1/00-a/00-run.sh", "#!/bin/bash -e\n. \"$1\"\n"),
        ("stage1/00-a/01-packages", "less\n"),
        ("stage1/00-a/files/a", "a"),
        ("stage2/files/b", "b"),
        ("lib.sh", "echo $HAT\n"),
        ("app/app.bin", "v1"),
    ]);
    let tree = dir.path().canonicalize().unwrap();
    let opened = [
        "lib.sh",
        "app/app.bin",
        "stage2/files/b",
        "stage1/00-a/01-packages",
        "stage1/00-a/files/a",
    ];
    let (first, before) = reading(&tree, &opened, &["app", "stage1/00-a/files"]);
    for name in [
        "file of the tree lib.sh",
        "file of the tree app/app.bin",
        "file of the tree stage2/files/b",
        "file 00-a/01-packages",
        "directory of the tree app",
        // The library names it.
        "variable HAT",
    ] {
        assert!(
            first.contains_key(name) && !before.contains_key(name),
            "{name}"
        );
    }
    assert!(!first.contains_key("directory 00-a/files"));
    // From what is written down of the layer, the same files are looked at again.
    let config = crate::plan::fixture::config(&tree, &["stage1"]);
    let reads = Tree::of(&config).reads(&first, &tree.join("stage1"));
    for name in opened {
        assert!(reads.contains(&Read::File(tree.join(name))), "{name}");
    }
    assert!(reads.contains(&Read::Directory(tree.join("app"))));
    let changed = |name: &str, text: &str| {
        fs::write(tree.join(name), text).unwrap();
        let (now, same) = reading(&tree, &opened, &["app"]);
        assert_eq!(same, before, "{name}");
        crate::layers::differences::differences(&first, &now)
    };
    assert_eq!(
        changed("app/app.bin", "v2"),
        ["file of the tree app/app.bin has changed"]
    );
    fs::write(tree.join("app/app.bin"), "v1").unwrap();
    assert_eq!(
        changed("app/new", ""),
        ["directory of the tree app has other names in it"]
    );
}

#[test]
fn a_file_that_is_named_and_not_there_counts_when_it_comes() {
    let dir = crate::plan::fixture::tree(&[(
        "stage1/00-a/00-run.sh",
        "#!/bin/bash -e\n[ ! -f ../../local.sh ] || . ../../local.sh\n",
    )]);
    let tree = dir.path().canonicalize().unwrap();
    let (first, _) = reading(&tree, &[], &[]);
    assert_eq!(first["path of the tree local.sh"], "nothing");
    fs::write(tree.join("local.sh"), "").unwrap();
    assert_ne!(reading(&tree, &[], &[]).0, first);
}

#[test]
fn a_step_that_is_a_link_is_what_the_link_leads_to() {
    let dir = crate::plan::fixture::tree(&[
        ("stage1/00-a/00-run.sh", "true\n"),
        ("shared/packages", "less\n"),
    ]);
    let tree = dir.path().canonicalize().unwrap();
    let list = tree.join("stage1/00-a/00-packages");
    std::os::unix::fs::symlink("../../shared/packages", &list).unwrap();
    let value = || {
        let config = crate::plan::fixture::config(&tree, &["stage1"]);
        let (plan, _) = crate::plan::Plan::discover(&config);
        let step = plan.steps().find(|step| step.path == list).unwrap();
        let seal = Seal::look(&tree).unwrap();
        let files = Files::new(&seal, Tree::of(&config), &tree, None);
        let found = files.inputs(step, &plan.stages[0], &Env::new(), &BTreeSet::new());
        found.unwrap().inputs["file 00-a/00-packages"].clone()
    };
    let first = value();
    fs::write(tree.join("shared/packages"), "more\n").unwrap();
    assert_ne!(value(), first);
}

/// The program's own stages are in a package's folder, in a container's or in a checkout.
#[test]
fn where_a_stage_lies_does_not_count() {
    let made = || {
        let dir = crate::plan::fixture::tree(&[
            (
                "share/stages/stage1/00-a/00-run.sh",
                "#!/bin/bash\ncat files/x ${STAGE_DIR}/y\n",
            ),
            ("share/stages/stage1/00-a/files/x", "1"),
            ("share/stages/stage1/y", "2"),
            ("user/mine/00-b/00-packages", "less\n"),
        ]);
        let tree = dir.path().canonicalize().unwrap();
        let stage = tree.join("share/stages/stage1");
        let user = tree.join("user");
        let config = crate::plan::fixture::config(&user, &[stage.to_str().unwrap(), "mine"]);
        let (plan, _) = crate::plan::Plan::discover(&config);
        let step = plan.steps().next().unwrap();
        assert!(step.path.starts_with(&stage));
        let seal = Seal::look(&user).unwrap();
        let files = Files::new(&seal, Tree::of(&config), &user, None);
        let env = Env::from([("STAGE_DIR".to_owned(), stage.display().to_string())]);
        let found = files.inputs(step, &plan.stages[0], &env, &BTreeSet::new());
        found.unwrap().inputs
    };
    let first = made();
    assert!(first.contains_key("file y"), "{first:?}");
    assert_eq!(first, made());
}
