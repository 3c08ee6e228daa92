//! Names of time zones, locales and keyboard layouts, judged by what the image's release has.

use super::nearest::nearest_of;
use super::reader::Reader;
use super::values::{Fault, fault};
use crate::base::releases::{self, Names};

/// The names of the release that the image is made of.
pub(super) fn names(reader: &Reader<'_>) -> &'static Names {
    releases::names(reader.get_of("RELEASE"))
}

/// A text that always has a value, and must be one of the release's names.
pub(super) fn named(
    reader: &mut Reader<'_>,
    judge: fn(&Names, &str) -> Result<(), Fault>,
) -> String {
    let names = names(reader);
    reader.checked(|text| judge(names, text))
}

/// The nearest of `candidates`, or what else to do.
fn meant(text: &str, candidates: impl Iterator<Item = &'static str>, otherwise: &str) -> String {
    nearest_of(text, candidates)
        .map_or(otherwise.to_owned(), |word| format!("did you mean {word}?"))
}

/// A zone of the tz database, by a name that the image has.
pub(super) fn time_zone(names: &Names, text: &str) -> Result<(), Fault> {
    if names.time_zones.has(text) {
        return Ok(());
    }
    if let Some((_, now)) = names.moved_zones.pairs().find(|(old, _)| *old == text) {
        return Err(fault(
            format!("{text} is an old name, which the image does not have"),
            format!("write {now}"),
        ));
    }
    let zones = names.time_zones.lines();
    let remedy = meant(text, zones, "write one such as Europe/London");
    Err(fault(format!("there is no time zone {text}"), remedy))
}

/// A locale with UTF-8, by the name that glibc generates it by.
pub(super) fn locale(names: &Names, text: &str) -> Result<(), Fault> {
    let locales = || names.locales.lines();
    if names.locales.has(text) {
        return Ok(());
    }
    // glibc has UTF-8 in some names only, and before the @ in none.
    let bare = |name: &str| name.replace(".UTF-8", "").replace(".utf8", "");
    let plain = text
        .split_once('.')
        .map_or(text.to_owned(), |(name, rest)| {
            let modifier = rest
                .split_once('@')
                .map(|(_, modifier)| format!("@{modifier}"));
            name.to_owned() + &modifier.unwrap_or_default()
        });
    let same = locales().find(|locale| bare(locale) == plain);
    match same {
        Some(right) if !text.contains('.') && right.ends_with(".UTF-8") => Err(fault(
            format!("{text} does not end in .UTF-8"),
            format!("write {right}"),
        )),
        Some(right) => Err(fault(
            format!("{text} is not the name of a locale with UTF-8"),
            format!("write {right}"),
        )),
        None => {
            let remedy = meant(text, locales(), "write one such as en_GB.UTF-8");
            Err(fault(format!("{text} is not a locale"), remedy))
        }
    }
}

/// Keyboard layouts of X with commas between them, each perhaps with a variant: `us(intl),ru`.
pub(super) fn keyboard(names: &Names, text: &str) -> Result<(), Fault> {
    if let Some((name, _)) = names.keyboards.pairs().find(|(_, words)| *words == text) {
        return Err(fault(
            format!("{text} is a layout in words, which KEYBOARD_LAYOUT is for"),
            format!("write {name}"),
        ));
    }
    text.split(',').try_for_each(|text| layout(names, text))
}

fn layout(names: &Names, text: &str) -> Result<(), Fault> {
    let (name, variant) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((name, variant)) => (name, Some(variant)),
        None => (text, None),
    };
    let known = |name: &str| names.keyboards.pairs().any(|(layout, _)| layout == name);
    if !known(name) {
        let language = text.split(['-', '_', '/', '(']).next().unwrap_or_default();
        let remedy = match text {
            "uk" => "write gb".to_owned(),
            "en" => "write gb or us".to_owned(),
            _ if known(language) => format!("write {language}"),
            _ => "write one such as gb, us or de; xkeyboard-config(7) lists them".to_owned(),
        };
        return Err(fault(format!("X has no keyboard layout {text}"), remedy));
    }
    let Some(variant) = variant else {
        return Ok(());
    };
    let variants = || variants(names, name);
    if variants().any(|known| known == variant) {
        return Ok(());
    }
    let otherwise = match variants().next() {
        Some(first) => format!("write {name}, or one of its variants such as {name}({first})"),
        None => format!("write {name}, which has no variants"),
    };
    Err(fault(
        format!("X's keyboard layout {name} has no variant {variant}"),
        meant(variant, variants(), &otherwise),
    ))
}

/// The variants of a layout.
fn variants<'a>(names: &Names, layout: &'a str) -> impl Iterator<Item = &'static str> + use<'a> {
    let all = names.variants.pairs();
    all.filter(move |(name, _)| *name == layout)
        .filter_map(|(_, rest)| rest.split(' ').next())
}

/// What is to be said of `KEYBOARD_LAYOUT` if X describes no layout in these words, so that
/// keyboard-configuration passes over them.
pub(super) fn unknown_words(names: &Names, text: &str) -> Option<String> {
    let layouts = names.keyboards.pairs().map(|(_, words)| words);
    let variants = names.variants.pairs();
    let variants = variants.filter_map(|(_, rest)| Some(rest.split_once(' ')?.1));
    let mut all = layouts.chain(variants);
    if all.any(|words| words == text) {
        return None;
    }
    let right = names.keyboards.pairs().map(|(_, words)| words);
    Some(format!(
        "KEYBOARD_LAYOUT: X has no layout that is called {text}, so it has no effect; {}",
        meant(text, right, "write one such as English (UK)")
    ))
}

/// What is to be said of `WPA_COUNTRY` if the kernel is given no rules for it.
pub(super) fn without_radio_rules(names: &Names, country: &str) -> Option<String> {
    (!names.radio_countries.has(country)).then(|| {
        format!(
            "WPA_COUNTRY: the image has no rules for radio in {country}, so those for the whole world \
             hold, which allow less"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trixie() -> &'static Names {
        releases::names("trixie")
    }

    #[test]
    fn zones_that_the_release_has_moved_have_their_new_name() {
        for zone in ["Europe/London", "UTC", "Etc/UTC", "Asia/Kolkata"] {
            assert_eq!(time_zone(trixie(), zone), Ok(()));
        }
        for (zone, remedy) in [
            ("US/Pacific", "write America/Los_Angeles"),
            ("Europe/Kiev", "write Europe/Kyiv"),
            ("Asia/Calcutta", "write Asia/Kolkata"),
            ("EST", "write America/Panama"),
            ("Europe/Lodnon", "did you mean Europe/London?"),
            ("localtime", "Europe/London"),
            ("posix/Europe/London", "Europe/London"),
            ("../etc/passwd", "Europe/London"),
        ] {
            let (what, said) = time_zone(trixie(), zone).unwrap_err();
            assert!(said.contains(remedy), "{zone}: {what}; {said}");
        }
    }

    #[test]
    fn locales_have_glibcs_names() {
        for name in ["en_GB.UTF-8", "C.UTF-8", "ca_ES@valencia", "aa_ER"] {
            assert_eq!(locale(trixie(), name), Ok(()));
        }
        for (name, remedy) in [
            ("en_GB", "write en_GB.UTF-8"),
            ("en_GB.utf8", "write en_GB.UTF-8"),
            ("en_GB.ISO-8859-1", "write en_GB.UTF-8"),
            ("ca_ES.UTF-8@valencia", "write ca_ES@valencia"),
            ("xx_YY.UTF-8", ""),
            ("english", "en_GB.UTF-8"),
        ] {
            let (what, said) = locale(trixie(), name).unwrap_err();
            assert!(said.contains(remedy), "{name}: {what}; {said}");
        }
    }

    #[test]
    fn keyboards_have_xs_names() {
        for name in ["gb", "us", "us(intl)", "us,ru", "de(nodeadkeys),us"] {
            assert_eq!(keyboard(trixie(), name), Ok(()));
        }
        for (name, remedy) in [
            ("uk", "write gb"),
            ("de-latin1", "write de"),
            ("English (US)", "write us"),
            ("es/cat", "write es"),
            ("a&b", "such as gb"),
            ("us,", "such as gb"),
        ] {
            let (what, said) = keyboard(trixie(), name).unwrap_err();
            assert!(said.contains(remedy), "{name}: {what}; {said}");
        }
    }

    #[test]
    fn variants_are_those_of_the_layout() {
        for (name, remedy) in [
            ("de(nodeadkey)", "did you mean nodeadkeys?"),
            (
                "gb(nodeadkeys)",
                "write gb, or one of its variants such as gb(",
            ),
            ("us()", "write us, or one"),
        ] {
            let (what, said) = keyboard(trixie(), name).unwrap_err();
            assert!(said.contains(remedy), "{name}: {what}; {said}");
        }
    }

    #[test]
    fn each_release_has_its_own_names() {
        let bookworm = releases::names("bookworm");
        assert_eq!(time_zone(bookworm, "US/Pacific"), Ok(()));
        assert!(time_zone(bookworm, "posix/US/Pacific").is_err());
        // A locale that came with glibc 2.41.
        assert!(locale(trixie(), "scn_IT").is_ok() && locale(bookworm, "scn_IT").is_err());
        // A layout's variant that came with xkeyboard-config 2.42.
        let newer = "fr(ergol)";
        assert!(keyboard(trixie(), newer).is_ok() && keyboard(bookworm, newer).is_err());
        // What is newer than the newest list is judged by that.
        assert!(time_zone(releases::names("forky"), "US/Pacific").is_err());
    }

    #[test]
    fn what_has_no_effect_is_noted() {
        assert_eq!(unknown_words(trixie(), "English (UK)"), None);
        assert_eq!(unknown_words(trixie(), "German (no dead keys)"), None);
        let note = unknown_words(trixie(), "Germany").unwrap();
        assert!(note.contains("did you mean German?"), "{note}");
        assert_eq!(without_radio_rules(trixie(), "GB"), None);
        assert!(without_radio_rules(trixie(), "JE").is_some());
    }
}
