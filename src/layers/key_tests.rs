//! What counts in a layer's key.

use super::*;

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

fn inputs(case: &Case) -> Inputs {
    let env = [("HAT", "red"), ("ARCH", "arm64"), ("FIRST_USER_PASS", "x")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Files::new(&case.seal, None)
        .inputs(&case.step, &case.stage, &Env::from(env))
        .unwrap()
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
fn what_a_function_reads_counts_for_who_calls_it() {
    let case = case("update_issue x\nget_hat\n");
    let env = Env::from([
        ("GIT_HASH".to_owned(), "01".to_owned()),
        ("HAT".to_owned(), "red".to_owned()),
    ]);
    let inputs = |common: Option<&Common>| {
        let files = Files::new(&case.seal, common);
        files.inputs(&case.step, &case.stage, &env).unwrap()
    };
    let without = inputs(None);
    assert!(without.contains_key("variable GIT_HASH") && !without.contains_key("variable HAT"));
    let common = |own: &str| Common {
        path: "/tree/scripts/common".into(),
        text: String::new(),
        own: own.to_owned(),
        functions: Vec::new(),
    };
    let with = inputs(Some(&common("get_hat() {\n\techo $HAT\n}\n")));
    assert!(with.contains_key("variable HAT"));
    assert_ne!(
        with,
        inputs(Some(&common("get_hat() {\n\techo \"$HAT\"\n}\n")))
    );
    assert_eq!(without, inputs(Some(&common(""))));
}

#[test]
fn a_list_with_variables_in_it_is_a_shells() {
    let mut case = case("$HAT nano\n");
    case.step.kind = StepKind::Packages;
    assert!(inputs(&case).contains_key("variable HAT"));
    fs::write(&case.step.path, "HAT nano\n").unwrap();
    assert!(!inputs(&case).contains_key("variable HAT"));
}

#[test]
fn a_secret_is_kept_as_a_keyed_hash_only() {
    let case = case("echo $FIRST_USER_PASS\n");
    let made = inputs(&case);
    let kept = &made["secret FIRST_USER_PASS"];
    assert_eq!(*kept, case.seal.hash("FIRST_USER_PASS", "x"));
    assert!(!made.contains_key("variable FIRST_USER_PASS") && has_secret(&made));
    assert!(!made.values().any(|value| *value == digest("x")));
    let env = Env::from([("FIRST_USER_PASS".to_owned(), String::new())]);
    let without = Files::new(&case.seal, None).inputs(&case.step, &case.stage, &env);
    assert!(!has_secret(&without.unwrap()));
}

#[test]
fn an_address_with_a_password_is_a_secret_under_any_name() {
    let case = case("true\n");
    let address = "http://me:hunter2@mirror.example/debian";
    let env = Env::from([("MIRROR".to_owned(), address.to_owned())]);
    let made = Files::new(&case.seal, None)
        .inputs(&case.step, &case.stage, &env)
        .unwrap();
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
    let error = Files::new(&wrong.seal, None)
        .inputs(&wrong.step, &wrong.stage, &Env::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("line 2: the inputs name nothing"), "{error}");
}
