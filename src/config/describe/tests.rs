use super::*;
use crate::config::setting::Raw;
use crate::config::source::read_all;
use crate::config::{Config, ConfigRequest, row, rows};
use serde_json::{Map, Value, json};

const HOW: &str = "run `cargo run --example settings`";

#[test]
fn the_example_is_made_of_the_table() {
    let there = include_str!("../../../config.example");
    assert!(there == example(), "config.example is stale: {HOW}");
}

#[test]
fn the_docs_are_made_of_the_table() {
    let there = include_str!("../../../docs/config.md");
    let made = docs(there).expect("docs/config.md has a place for the keys");
    assert!(there == made, "docs/config.md is stale: {HOW}");
}

/// What bash reads in config.example when every key in it is set.
fn all_set() -> Raw {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<_> = example()
        .lines()
        .map(|line| {
            let set = line.strip_prefix('#').filter(|line| {
                line.split_once('=')
                    .is_some_and(|(name, _)| row(name).is_some())
            });
            set.unwrap_or(line).to_owned()
        })
        .collect();
    std::fs::write(dir.path().join("config"), lines.join("\n")).unwrap();
    let request = ConfigRequest {
        cwd: dir.path().to_owned(),
        ..ConfigRequest::default()
    };
    let mut problems = Vec::new();
    let raw = read_all(&request, &mut problems);
    assert_eq!(problems, []);
    raw
}

#[test]
fn bash_reads_every_key_and_its_default_in_the_example() {
    let raw = all_set();
    for row in rows() {
        let setting = &raw.settings[row.name];
        if !row.facts.default.is_empty() {
            assert_eq!(setting.value, row.facts.default, "{}", row.name);
        }
    }
}

#[test]
fn the_example_as_it_is_changes_no_default() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("stage0")).unwrap();
    let load = |set: &[&str]| {
        let loaded = Config::load(&ConfigRequest {
            cwd: dir.path().to_owned(),
            set: set.iter().map(|text| (*text).to_owned()).collect(),
            ..ConfigRequest::default()
        });
        assert_eq!(loaded.problems, []);
        let config = loaded.config.unwrap();
        Config {
            sources: Vec::new(),
            ..config
        }
    };
    let bare = load(&["IMG_NAME=Westwork"]);
    std::fs::write(dir.path().join("config"), example()).unwrap();
    assert_eq!(load(&[]), bare);
}

fn refused(config: Value) -> bool {
    let schema = schema(&[]);
    let validator = jsonschema::validator_for(&schema).unwrap();
    !validator.is_valid(&config)
}

#[test]
fn the_schema_takes_the_example_in_toml() {
    let mut text = String::new();
    for (name, setting) in all_set().settings {
        text += &format!("{name} = {}\n", json!(setting.value));
    }
    let table: Map<String, Value> = toml::from_str(&text).unwrap();
    assert_eq!(table.len(), rows().count());
    let schema = schema(&[]);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&Value::Object(table))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
    assert!(!refused(json!({
        "IMG_NAME": "x",
        "ENABLE_SSH": true,
        "APT_TIMEOUT": 60,
        "STAGE_LIST": ["a b", "c"],
        "DEPLOY_COMPRESSION": ["xz", "zst"],
        "HOST_PATHS": ["/srv/blobs", "/srv/out:rw"],
        "MIN_FREE": 1024,
    })));
}

/// Each of these is refused for its own fault alone.
#[test]
fn the_schema_refuses_slips_and_wrong_types() {
    let misspelt = [
        "IMGNAME",
        "IMG_NAM",
        "img_name",
        "IMG-NAME",
        "TARGET_HOST",
        "HOSTNAME",
        "DEPLOY_COMPRESION",
        "DEPLOYCOMPRESSION",
        "COMPRESION_LEVEL",
        "FISRT_USER_NAME",
        "FIRST_USER_PASSWORD",
        "ENABLE_SHH",
        "SSH_ENABLE",
        "PUBKEY_SSH_FIRSTUSER",
        "WPA_COUNTY",
        "LOCAL_DEFAULT",
        "TIMEZONE",
        "KEYBOARD_LAYOUTS",
        "STAGES",
        "STAGELIST",
        "RELASE",
        "ARHC",
        "DISTOR",
        "APT_PROXI",
        "CACHE_DIRECTORY",
        "ROOT_FILE_SYSTEM",
    ];
    for key in misspelt {
        let config = json!({"IMG_NAME": "x", key: "x"});
        assert!(refused(config), "{key}");
    }
    for config in [
        json!({"IMGNAME": "x"}),
        json!({"ENABLE_SSH": "maybe"}),
        json!({"ENABLE_SSH": 2}),
        json!({"IMG_NAME": 5}),
        json!({"IMG_NAME": ["x"]}),
        json!({"DISTRO": "raspbian"}),
        json!({"DEPLOY_COMPRESSION": "zstd"}),
        json!({"DEPLOY_COMPRESSION": ["zstd"]}),
        json!({"APT_TIMEOUT": 0}),
        json!({"BOOT_SIZE": "big"}),
        json!({"MIRROR": "ftp://x"}),
        json!({"STAGE_LIST": {"a": 1}}),
        json!({"IMG_DATE": "tomorrow"}),
    ] {
        assert!(refused(config.clone()), "{config}");
    }
}

#[test]
fn the_schema_has_the_variables_of_the_trees_stages() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("stage0")).unwrap();
    let contract = "[FLAVOUR]\nhelp = \"x\"\nvalues = [\"sweet\", \"sour\"]\n\n\
                    [COUNT]\nhelp = \"y\"\ntype = \"number\"\nmax = 3\n";
    std::fs::write(dir.path().join("stage0/variables.toml"), contract).unwrap();
    let loaded = Config::load(&ConfigRequest {
        cwd: dir.path().to_owned(),
        ..ConfigRequest::default()
    });
    let schema = schema(&loaded.config.unwrap().variables);
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&json!({"FLAVOUR": "sweet", "COUNT": 3})));
    for wrong in [
        json!({"FLAVOUR": "bitter"}),
        json!({"COUNT": 4}),
        json!({"FLAVOR": "sweet"}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn the_schema_of_variables_takes_what_is_read_and_refuses_slips() {
    use crate::config::variables::Contract;
    let schema = crate::base::schema::of_input::<Contract>();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good = json!({
        "A_1": {"help": "x", "type": "number", "default": 1, "min": 0, "max": 2},
        "B": {"help": "x", "values": ["a"], "pattern": "a", "default": "a"},
        "C": {"help": "x", "type": "list", "default": ["a"]},
        "D": {"help": "x", "type": "flag", "default": true},
        "E": {"help": "x", "secret": true, "required": true},
    });
    assert!(validator.is_valid(&good));
    for wrong in [
        json!({"a": {"help": "x"}}),
        json!({"A": {"help": ""}}),
        json!({"A": {}}),
        json!({"A": {"help": "x", "typ": "text"}}),
        json!({"A": {"help": "x", "type": "txt"}}),
        json!({"A": {"help": "x", "secret": 1}}),
        json!({"A": {"help": "x", "min": "1"}}),
        json!({"A": "x"}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}
