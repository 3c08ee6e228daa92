//! The way in: `new` makes folders that are right, and `explain` says what is in them.

use super::schemas::printed;
use super::{listing, program, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

/// The program in `dir`, which finds its own stages in this tree.
fn westwork(dir: &Path, args: &[&str]) -> Output {
    let mut command = program();
    command
        .args(args)
        .current_dir(dir)
        .env("WESTWORK_GEN_SHARE", env!("CARGO_MANIFEST_DIR"))
        .env_remove("MQTT_HOST");
    command.output().unwrap()
}

fn good(dir: &Path, args: &[&str]) -> String {
    let output = westwork(dir, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
    text(&output)
}

fn recipes(dir: &Path) -> Vec<String> {
    let list = good(dir, &["new", "--list"]);
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Files that a schema of this program holds for, below `dir`.
fn assert_by_schema(dir: &Path, recipe: &str) {
    for (name, schema) in [("tests.toml", "tests"), ("variables.toml", "variables")] {
        let validator = printed(schema);
        for entry in fs::read_dir(dir).unwrap() {
            let Ok(text) = fs::read_to_string(entry.unwrap().path().join(name)) else {
                continue;
            };
            let value: Value = toml::from_str(&text).unwrap();
            let errors: Vec<_> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert_eq!(errors, [""; 0], "{recipe}: {name}");
        }
    }
}

#[test]
fn every_recipe_makes_a_folder_without_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let recipes = recipes(dir.path());
    assert!(recipes.len() > 3 && recipes[0] == "plain", "{recipes:?}");
    for recipe in &recipes {
        let name = format!("my-{recipe}");
        good(dir.path(), &["new", &name, "--recipe", recipe]);
        let made = dir.path().join(&name);
        let config = fs::read_to_string(made.join("config")).unwrap();
        assert!(config.contains(&format!("\nIMG_NAME={name}\n")), "{config}");
        for file in [".github/workflows/image.yml", ".gitlab-ci.yml", "README.md"] {
            assert!(made.join(file).is_file(), "{recipe}: {file}");
        }
        assert_by_schema(&made, recipe);
        // What this machine lacks has no place in the tree.
        let output = westwork(&made, &["check", "--json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let build = &said["builds"][0];
        let problems = build["problems"].as_array().unwrap();
        let of_tree: Vec<_> = problems
            .iter()
            .filter(|one| one.get("path").is_some())
            .collect();
        assert!(of_tree.is_empty(), "{recipe}: {of_tree:?}");
        let notes = build["notes"].as_array().unwrap();
        let of_recipe: Vec<_> = notes
            .iter()
            .filter(|note| note.to_string().contains(&name))
            .collect();
        assert!(of_recipe.is_empty(), "{recipe}: {of_recipe:?}");
        // One image, of the stage that is the user's.
        let output = westwork(&made, &["plan", "--json"]);
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let images = plan["builds"][0]["images"].as_array().unwrap();
        assert_eq!(images.len(), 1, "{recipe}: {images:?}");
        assert!(!images[0]["after"].as_str().unwrap().starts_with("stage"));
    }
}

#[test]
fn new_overwrites_nothing_and_refuses_bad_names() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path(), &["new", "mine"]);
    fs::write(dir.path().join("mine/config"), "kept").unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let before = listing(dir.path());
    for (name, said) in [
        ("mine", "nothing is overwritten"),
        ("file", "nothing is overwritten"),
        ("Big", "small letters"),
        ("a_b", "small letters"),
        ("-a", "unexpected argument"),
        ("a b", "small letters"),
        ("..", "small letters"),
        ("", "a value is required"),
    ] {
        let output = westwork(dir.path(), &["new", name]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", text(&output));
        assert!(text(&output).contains(said), "{name}: {}", text(&output));
    }
    let output = westwork(dir.path(), &["new", "x", "--recipe", "kiosck"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(listing(dir.path()), before);
    assert_eq!(
        fs::read_to_string(dir.path().join("mine/config")).unwrap(),
        "kept"
    );
    // An empty folder, such as a fresh repository's, is taken.
    fs::create_dir(dir.path().join("empty")).unwrap();
    good(dir.path(), &["new", "empty"]);
    assert!(dir.path().join("empty/config").is_file());
}

#[test]
fn a_variable_is_judged_shown_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path(), &["new", "node", "--recipe", "sensor"]);
    let node = dir.path().join("node");
    let secret = "MQTT_PASSWORD=hunter2-hunter2";
    let plan = westwork(&node, &["plan", "--json", "--set", secret]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(!plan.contains("hunter2"), "{plan}");
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let variables = plan["builds"][0]["variables"].as_array().unwrap();
    let of = |name: &str| variables.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of("MQTT_PORT")["value"], "1883");
    assert_eq!(of("MQTT_PASSWORD")["set"], true);
    let wrong = westwork(&node, &["plan", "--set", "MQTT_PORT=0"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("MQTT_PORT: 0 is out of bounds; write 1 to 65535"));
    for (word, said) in [
        ("MQTT_PORT", "allowed: 1 to 65535"),
        ("IMG_NAME", "is a key of the config"),
        (
            "sensor/00-node/01-run.sh",
            "Installs the program that reads",
        ),
        ("sensor/00-node", "mosquitto mosquitto-clients"),
        ("config:3: unknown key MQTT_HOTS; remove it", "what helps: "),
        ("MQTT_PORT: 0 is out of bounds", "allowed: 1 to 65535"),
    ] {
        let found = good(&node, &["explain", word]);
        assert!(found.contains(said), "{word}: {found}");
    }
    let nothing = westwork(&node, &["explain", "IMGNAME"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing).contains("did you mean IMG_NAME?"));
    let schema = good(&node, &["schema", "config"]);
    assert!(schema.contains("\"MQTT_HOST\"") && schema.contains("\"IMG_NAME\""));
}
