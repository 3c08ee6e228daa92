//! Results for people, and what tests are called that nobody named.

use super::Tested;
use super::outcome::Verdict;
use super::spec;
use crate::images::inspect::table;
use crate::images::printable::printable;
use std::fmt::Write as _;

pub(super) fn file(test: &spec::File) -> String {
    let of = match test.on {
        spec::On::Root => "",
        spec::On::Boot => " of the boot partition",
    };
    let word = if test.exists { "" } else { " is not there" };
    let usual = || format!("{}{of}{word}", test.path);
    test.name.clone().unwrap_or_else(usual)
}

pub(super) fn package(test: &spec::Package) -> String {
    let usual = || match (&test.version, test.installed) {
        (Some(relation), _) => format!("{} {relation}", test.package),
        (None, true) => format!("{} is installed", test.package),
        (None, false) => format!("{} is not installed", test.package),
    };
    test.name.clone().unwrap_or_else(usual)
}

pub(super) fn unit(test: &spec::Unit) -> String {
    let word = |wanted: Option<bool>, word: &str| {
        let is = |yes| if yes { "is" } else { "is not" };
        wanted.map(|wanted| format!("{} {word}", is(wanted)))
    };
    let words: Vec<String> = [word(test.enabled, "enabled"), word(test.masked, "masked")]
        .into_iter()
        .flatten()
        .collect();
    let usual = || format!("{} {}", test.unit, words.join(", "));
    test.name.clone().unwrap_or_else(usual)
}

pub(super) fn user(test: &spec::User) -> String {
    let word = if test.exists { "" } else { " is not there" };
    let usual = || format!("user {}{word}", test.user);
    test.name.clone().unwrap_or_else(usual)
}

pub(super) fn config_txt(test: &spec::ConfigTxt) -> String {
    let usual = || match &test.value {
        Some(value) => format!("config.txt has {}={value} for {}", test.key, test.section),
        None => format!("config.txt has no {} for {}", test.key, test.section),
    };
    test.name.clone().unwrap_or_else(usual)
}

/// A table an image, and a closing line.
pub(super) fn show(all: &[Tested]) -> String {
    let mut text = String::new();
    for tested in all {
        let _ = writeln!(text, "{}", printable(&tested.image));
        let rows = tested.outcomes.iter().map(|outcome| {
            let word = match &outcome.verdict {
                Verdict::Passed => "passed",
                Verdict::Failed(_) => "FAILED",
                Verdict::Unclear(_) => "unclear",
                Verdict::LeftOut(_) => "left out",
            };
            let moment = outcome.moment.as_ref().map(|moment| format!(" ({moment})"));
            [
                word.to_owned(),
                format!("{}{}", shortened(&outcome.test), moment.unwrap_or_default()),
                outcome.place.clone(),
                format!("{:.1} s", outcome.seconds),
            ]
        });
        text.push_str(&table(&["result", "test", "at", "time"], rows.collect()));
        for outcome in &tested.outcomes {
            let why = match &outcome.verdict {
                Verdict::Failed(why) | Verdict::Unclear(why) => why,
                Verdict::Passed | Verdict::LeftOut(_) => continue,
            };
            let moment = outcome.moment.as_ref().map(|moment| format!(" ({moment})"));
            let place = match outcome.place.as_str() {
                "" => String::new(),
                place => format!("{}: ", printable(place)),
            };
            let _ = writeln!(
                text,
                "{place}{}{}: {}",
                shortened(&printable(&outcome.test)),
                moment.unwrap_or_default(),
                printable(why)
            );
        }
    }
    let count = |wanted: fn(&Verdict) -> bool| {
        let outcomes = all.iter().flat_map(|tested| &tested.outcomes);
        outcomes.filter(|outcome| wanted(&outcome.verdict)).count()
    };
    let _ = writeln!(
        text,
        "{} passed, {} failed, {} unclear, {} left out",
        count(|verdict| *verdict == Verdict::Passed),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Unclear(_))),
        count(|verdict| matches!(verdict, Verdict::LeftOut(_))),
    );
    text
}

/// The first line of a title, as far as it fits a table.
fn shortened(title: &str) -> String {
    let line = title.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 {
        return line.to_owned();
    }
    line.chars().take(59).chain(['…']).collect()
}
