//! The values of stages' variables: the user's, or the default.

use super::{Declared, Type, Variable};
use crate::base::problem::Problem;
use crate::config::ConfigRequest;
use crate::config::nearest::nearest_of;
use crate::config::setting::{Raw, Setting, outside};
use crate::config::values::{self, Fault, fault};
use std::collections::BTreeMap;

/// Gives each variable its value, and `exports` those that have one.
pub(in crate::config) fn judge(
    request: &ConfigRequest,
    raw: &Raw,
    variables: &mut [Variable],
    exports: &mut BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    for variable in variables {
        let setting = set(request, raw, &variable.name);
        let found = setting.as_ref().map(|setting| setting.value.as_str());
        let default = variable.declared.default.as_ref().map(super::Plain::text);
        let value = match found.filter(|value| !value.is_empty()) {
            Some(text) => {
                variable.set = true;
                self::value(&variable.declared, text).map(Some)
            }
            None if variable.declared.required => Err(fault(
                format!("is not set ({})", variable.declared.help.trim()),
                format!("set it in the config, or with --set {}=…", variable.name),
            )),
            None => Ok(default.and_then(|text| self::value(&variable.declared, &text).ok())),
        };
        match value {
            Ok(Some(value)) if !value.is_empty() => {
                exports.insert(variable.name.clone(), value.clone());
                variable.value = (!variable.declared.secret).then_some(value);
            }
            Ok(_) => {}
            Err((what, remedy)) => {
                let what = format!("{}: {what}", variable.name);
                problems.push(match &setting {
                    Some(setting) => setting.problem(what, remedy),
                    None => Problem::new(what, remedy)
                        .at(&variable.file)
                        .line(variable.line),
                });
            }
        }
    }
}

/// What the user says: the command line before the environment before the files.
fn set(request: &ConfigRequest, raw: &Raw, name: &str) -> Option<Setting> {
    let on_line = |text: &String| text.split_once('=').is_some_and(|(key, _)| key == name);
    let from_environment = request
        .env
        .get(name)
        .filter(|_| !request.set.iter().any(on_line));
    from_environment
        .map(|value| outside(value))
        .or_else(|| raw.settings.get(name).cloned())
}

/// The value as scripts find it.
///
/// # Errors
/// What is wrong with it; a secret is not repeated.
pub(super) fn value(declared: &Declared, text: &str) -> Result<String, Fault> {
    judged(declared, text).map_err(|(what, remedy)| match declared.secret {
        true => fault("has a value that it may not have", remedy),
        false => (what, remedy),
    })
}

fn judged(declared: &Declared, text: &str) -> Result<String, Fault> {
    let value = match declared.kind {
        Type::Text => {
            if text.contains(['\n', '\0']) {
                return Err(fault("has more than one line", "write one line"));
            }
            one(declared, text)?;
            text.to_owned()
        }
        Type::Flag => u8::from(values::flag(text)?).to_string(),
        Type::Number => number(declared, text)?.to_string(),
        Type::Size => values::size(text)?.to_string(),
        Type::Url => {
            values::url(text)?;
            one(declared, text)?;
            text.to_owned()
        }
        Type::List => {
            let words: Vec<&str> = text.split_whitespace().collect();
            words.iter().try_for_each(|word| one(declared, word))?;
            words.join(" ")
        }
    };
    Ok(value)
}

fn number(declared: &Declared, text: &str) -> Result<i64, Fault> {
    let number: i64 = text
        .parse()
        .map_err(|_| fault(format!("{text} is no whole number"), "write digits alone"))?;
    let (min, max) = (
        declared.min.unwrap_or(i64::MIN),
        declared.max.unwrap_or(i64::MAX),
    );
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    let remedy = match (declared.min, declared.max) {
        (Some(min), Some(max)) => format!("write {min} to {max}"),
        (Some(min), None) => format!("write {min} or more"),
        (None, _) => format!("write {max} or less"),
    };
    Err(fault(format!("{number} is out of bounds"), remedy))
}

/// One word of the value, or all of it.
fn one(declared: &Declared, text: &str) -> Result<(), Fault> {
    let words = &declared.values;
    if !words.is_empty() && !words.iter().any(|word| word == text) {
        let all = words.join(", ");
        let remedy = match nearest_of(text, words.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}? (one of {all})"),
            None => format!("write one of {all}"),
        };
        return Err(fault(format!("{text} is not known"), remedy));
    }
    let pattern = declared.pattern.as_deref();
    // One that is none was told of with the declaration.
    if let Some(Ok(regex)) = pattern.map(whole) {
        if !regex.is_match(text) {
            let remedy = format!(
                "write what the pattern {} takes",
                pattern.unwrap_or_default()
            );
            return Err(fault(format!("{text} is not of the right form"), remedy));
        }
    }
    Ok(())
}

/// The pattern for all of a text.
pub(super) fn whole(pattern: &str) -> Result<regex::Regex, regex::Error> {
    let text = format!("^(?:{pattern})$");
    regex::RegexBuilder::new(&text).size_limit(1 << 20).build()
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigRequest, Loaded};
    use std::collections::BTreeMap;

    const STAGE: &str = r#"
[MQTT_HOST]
help = "Where readings are sent to"
default = "localhost"
pattern = "[a-z0-9.-]+"

[MQTT_PORT]
help = "Its port"
type = "number"
default = 1883
min = 1
max = 65535

[MQTT_ACCESS]
help = "Its password"
secret = true

[SENSORS]
help = "What is read"
type = "list"
values = ["light", "heat"]

[LOUD]
help = "Says more"
type = "flag"
default = false
"#;

    fn load(contract: &str, config: &str, set: &[&str], env: &[(&str, &str)]) -> Loaded {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("stage0")).unwrap();
        std::fs::write(dir.path().join("stage0/variables.toml"), contract).unwrap();
        std::fs::write(dir.path().join("config"), config).unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Config::load(&ConfigRequest {
            cwd: dir.path().to_owned(),
            set: set.iter().map(|text| (*text).to_owned()).collect(),
            env: env.iter().map(own).collect::<BTreeMap<_, _>>(),
            ..ConfigRequest::default()
        })
    }

    #[test]
    fn a_variable_has_the_users_value_or_its_default() {
        let config = "IMG_NAME=a\nMQTT_HOST=file\nMQTT_PORT=1\n";
        let loaded = load(
            STAGE,
            config,
            &["MQTT_PORT=3"],
            &[("MQTT_PORT", "2"), ("LOUD", "yes")],
        );
        assert_eq!(loaded.problems, []);
        let config = loaded.config.unwrap();
        let exports: Vec<_> = config.exports.iter().collect();
        assert_eq!(
            format!("{exports:?}"),
            r#"[("LOUD", "1"), ("MQTT_HOST", "file"), ("MQTT_PORT", "3")]"#
        );
        assert!(config.is_secret("MQTT_ACCESS") && !config.is_secret("MQTT_HOST"));
        let bare = load(STAGE, "IMG_NAME=a\n", &[], &[]).config.unwrap();
        assert_eq!(bare.exports["MQTT_PORT"], "1883");
    }

    #[test]
    fn a_wrong_value_is_told_where_it_stands() {
        for (line, remedy) in [
            ("MQTT_HOST='a b'", "[a-z0-9.-]+"),
            ("MQTT_PORT=0", "1 to 65535"),
            ("MQTT_PORT=x", "digits"),
            ("SENSORS='light haet'", "did you mean heat?"),
            ("LOUD=maybe", "0 or 1"),
            ("MQTT_HOTS=x", "did you mean MQTT_HOST?"),
        ] {
            let problems = load(STAGE, &format!("IMG_NAME=a\n{line}\n"), &[], &[]).problems;
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert_eq!(problems[0].line, Some(2), "{line}");
            assert!(
                problems[0].remedy.contains(remedy),
                "{line}: {}",
                problems[0]
            );
        }
    }

    #[test]
    fn a_secret_is_in_no_message_and_in_no_record() {
        let contract = "[CODE]\nhelp = \"x\"\nsecret = true\npattern = \"[0-9]+\"\n";
        let problems = load(contract, "IMG_NAME=a\nCODE=hunter2\n", &[], &[]).problems;
        assert_eq!(problems.len(), 1);
        assert!(
            !problems[0].to_string().contains("hunter2"),
            "{}",
            problems[0]
        );
        let config = load(STAGE, "IMG_NAME=a\nMQTT_ACCESS=hunter2\n", &[], &[])
            .config
            .unwrap();
        assert_eq!(config.exports["MQTT_ACCESS"], "hunter2");
        let written =
            serde_json::to_string(&config.variables).unwrap() + &config.for_record().to_string();
        let shown: String = config.variables.iter().map(ToString::to_string).collect();
        assert!(
            !written.contains("hunter2") && !shown.contains("hunter2"),
            "{written} {shown}"
        );
    }

    #[test]
    fn a_wrong_declaration_is_told_by_line() {
        for (contract, line, what) in [
            ("[a]\nhelp = \"x\"\n", 1, "capital letters"),
            ("\n[ARCH]\nhelp = \"x\"\n", 2, "key of the config"),
            ("[ROOTFS_DIR]\nhelp = \"x\"\n", 1, "meaning of its own"),
            ("[A]\nhelp = \"\"\n", 2, "no help"),
            ("[A]\ntype = \"text\"\n", 1, "help"),
            ("[A]\nhelp = \"x\"\ntype = \"txt\"\n", 3, "txt"),
            ("[A]\nhelp = \"x\"\ndefalt = 1\n", 3, "defalt"),
            ("[A]\nhelp = \"x\"\nmin = 1\n", 3, "bounds"),
            (
                "[A]\nhelp = \"x\"\ntype = \"number\"\nmin = 2\nmax = 1\n",
                4,
                "above",
            ),
            (
                "[A]\nhelp = \"x\"\npattern = \"(\"\n",
                3,
                "regular expression",
            ),
            (
                "[A]\nhelp = \"x\"\ntype = \"number\"\ndefault = \"x\"\n",
                4,
                "default",
            ),
            (
                "[A]\nhelp = \"x\"\nsecret = true\ndefault = \"x\"\n",
                4,
                "all can read",
            ),
            ("[A]\nhelp = \"x\"\nrequired = true\n", 1, "is not set (x)"),
            ("A = 1\n", 1, "table"),
            ("[A\n", 1, "write a table"),
        ] {
            let problems = load(contract, "IMG_NAME=a\n", &[], &[]).problems;
            assert_eq!(problems.len(), 1, "{contract}: {problems:?}");
            let said = problems[0].to_string();
            assert!(said.contains(what), "{contract}: {said}");
            assert_eq!(problems[0].line, Some(line), "{contract}: {said}");
        }
    }
}
