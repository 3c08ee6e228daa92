//! What the firmware and the kernel are told.

use super::spec;
use super::subject::Subject;
use crate::images::printable::printable;
use anyhow::Result;

/// What is wrong with the kernel's command line.
pub(super) fn cmdline(test: &spec::Cmdline, subject: &Subject) -> Result<Vec<String>> {
    let text = subject.boot_text("cmdline.txt")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let there = |wanted: &String| words.contains(&wanted.as_str());
    let missing = test.has.iter().filter(|word| !there(word));
    let missing = missing.map(|word| {
        let key = word.split_once('=').map(|(key, _)| format!("{key}="));
        let other = words
            .iter()
            .rfind(|found| key.as_ref().is_some_and(|key| found.starts_with(key)));
        match other {
            Some(other) => format!("it has {}, not {word}", printable(other)),
            None => format!("it lacks {word}"),
        }
    });
    let unwanted = test.lacks.iter().filter(|word| {
        let word = word.as_str();
        // `quiet` is a word, `init=` is the beginning of one.
        words
            .iter()
            .any(|found| *found == word || word.ends_with('=') && found.starts_with(word))
    });
    Ok(missing
        .chain(unwanted.map(|word| format!("it has {word}")))
        .collect())
}

/// What is wrong with a setting of config.txt.
pub(super) fn config_txt(test: &spec::ConfigTxt, subject: &Subject) -> Result<Vec<String>> {
    let text = subject.boot_text("config.txt")?;
    let values = values(&text, &test.section, &test.key);
    let shown = |values: &[&str]| {
        values
            .iter()
            .map(|value| printable(value))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let fault = match &test.value {
        None => (!values.is_empty()).then(|| format!("it is {}", shown(&values))),
        // Such lines add up.
        Some(wanted)
            if ["dtoverlay", "dtparam", "gpio", "include"].contains(&test.key.as_str()) =>
        {
            (!values.contains(&wanted.as_str())).then(|| match values.is_empty() {
                true => "it is not set".to_owned(),
                false => format!("it is {}", shown(&values)),
            })
        }
        Some(wanted) => match values.last() {
            None => Some("it is not set".to_owned()),
            Some(value) => (value != wanted).then(|| format!("it is {}", printable(value))),
        },
    };
    Ok(fault.into_iter().collect())
}

/// The values of `key` in the section `section` of config.txt, in their order. A line before any
/// `[section]` is in `all`.
fn values<'a>(text: &'a str, section: &str, key: &str) -> Vec<&'a str> {
    let mut here = "all";
    let mut values = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            here = name;
        } else if here.eq_ignore_ascii_case(section) {
            let rest = line.strip_prefix(key).unwrap_or_default();
            if rest.starts_with(['=', ' ']) {
                values.push(rest[1..].trim());
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn settings_are_those_of_their_section() {
        let text = "a=1\n#a=2\n[pi4]\na=3\n[all]\na=4\nab=5\ninitramfs x followkernel\n";
        assert_eq!(values(text, "all", "a"), ["1", "4"]);
        assert_eq!(values(text, "pi4", "a"), ["3"]);
        assert_eq!(values(text, "all", "initramfs"), ["x followkernel"]);
    }
}
