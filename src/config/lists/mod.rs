//! Names that the image's release has: of time zones, locales, keyboard layouts, accounts. They are
//! Debian 13's, each list with its source; what the build machine has does not count.

use super::nearest::nearest_of;
use super::values::{Fault, fault};

const TIME_ZONES: &str = include_str!("time-zones");
const MOVED_ZONES: &str = include_str!("moved-zones");
const LOCALES: &str = include_str!("locales");
const KEYBOARDS: &str = include_str!("keyboards");
const ACCOUNTS: &str = include_str!("accounts");

fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter(|line| !line.starts_with('#'))
}

/// Name and what is said of it.
fn pairs(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    lines(list).filter_map(|line| line.split_once(' '))
}

/// The nearest of `candidates`, or what else to do.
fn meant(text: &str, candidates: impl Iterator<Item = &'static str>, otherwise: &str) -> String {
    nearest_of(text, candidates)
        .map_or(otherwise.to_owned(), |word| format!("did you mean {word}?"))
}

/// A zone of the tz database, by a name that the image has.
pub(super) fn time_zone(text: &str) -> Result<(), Fault> {
    if lines(TIME_ZONES).any(|zone| zone == text) {
        return Ok(());
    }
    if let Some((_, now)) = pairs(MOVED_ZONES).find(|(old, _)| *old == text) {
        return Err(fault(
            format!("{text} is an old name, which the image does not have"),
            format!("write {now}"),
        ));
    }
    let remedy = meant(text, lines(TIME_ZONES), "write one such as Europe/London");
    Err(fault(format!("there is no time zone {text}"), remedy))
}

/// A locale with UTF-8, by the name that glibc generates it by.
pub(super) fn locale(text: &str) -> Result<(), Fault> {
    if lines(LOCALES).any(|locale| locale == text) {
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
    let same = lines(LOCALES).find(|locale| bare(locale) == plain);
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
            let remedy = meant(text, lines(LOCALES), "write one such as en_GB.UTF-8");
            Err(fault(format!("{text} is not a locale"), remedy))
        }
    }
}

/// Keyboard layouts of X with commas between them, each perhaps with a variant: `us(intl),ru`.
pub(super) fn keyboard(text: &str) -> Result<(), Fault> {
    if let Some((name, _)) = pairs(KEYBOARDS).find(|(_, words)| *words == text) {
        return Err(fault(
            format!("{text} is a layout in words, which KEYBOARD_LAYOUT is for"),
            format!("write {name}"),
        ));
    }
    text.split(',').try_for_each(layout)
}

fn layout(text: &str) -> Result<(), Fault> {
    let (name, variant) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((name, variant)) => (name, variant),
        None => (text, "x"),
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
    let known = |name: &str| pairs(KEYBOARDS).any(|(layout, _)| layout == name);
    if known(name) && !variant.is_empty() && variant.chars().all(letters) {
        return Ok(());
    }
    let language = text.split(['-', '_', '/', '(']).next().unwrap_or_default();
    let remedy = match text {
        "uk" => "write gb".to_owned(),
        "en" => "write gb or us".to_owned(),
        _ if known(language) => format!("write {language}"),
        _ => "write one such as gb, us or de; xkeyboard-config(7) lists them".to_owned(),
    };
    Err(fault(format!("X has no keyboard layout {text}"), remedy))
}

/// Whether an account or a group of this name is there before the first user is made.
pub(super) fn is_account(name: &str) -> bool {
    lines(ACCOUNTS).any(|account| account == name) || name.starts_with("systemd-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_that_the_release_has_moved_have_their_new_name() {
        for zone in ["Europe/London", "UTC", "Etc/UTC", "Asia/Kolkata"] {
            assert_eq!(time_zone(zone), Ok(()));
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
            let (what, said) = time_zone(zone).unwrap_err();
            assert!(said.contains(remedy), "{zone}: {what}; {said}");
        }
    }

    #[test]
    fn locales_have_glibcs_names() {
        for name in ["en_GB.UTF-8", "C.UTF-8", "ca_ES@valencia", "aa_ER"] {
            assert_eq!(locale(name), Ok(()));
        }
        for (name, remedy) in [
            ("en_GB", "write en_GB.UTF-8"),
            ("en_GB.utf8", "write en_GB.UTF-8"),
            ("en_GB.ISO-8859-1", "write en_GB.UTF-8"),
            ("ca_ES.UTF-8@valencia", "write ca_ES@valencia"),
            ("xx_YY.UTF-8", ""),
            ("english", "en_GB.UTF-8"),
        ] {
            let (what, said) = locale(name).unwrap_err();
            assert!(said.contains(remedy), "{name}: {what}; {said}");
        }
    }

    #[test]
    fn keyboards_have_xs_names() {
        for name in ["gb", "us", "us(intl)", "us,ru", "de(nodeadkeys),us"] {
            assert_eq!(keyboard(name), Ok(()));
        }
        for (name, remedy) in [
            ("uk", "write gb"),
            ("de-latin1", "write de"),
            ("English (US)", "write us"),
            ("es/cat", "write es"),
            ("a&b", "such as gb"),
            ("us()", "write us"),
            ("us,", "such as gb"),
        ] {
            let (what, said) = keyboard(name).unwrap_err();
            assert!(said.contains(remedy), "{name}: {what}; {said}");
        }
    }

    #[test]
    fn accounts_and_groups_are_known() {
        for name in [
            "nobody",
            "games",
            "www-data",
            "video",
            "sudo",
            "gpio",
            "systemd-network",
        ] {
            assert!(is_account(name), "{name}");
        }
        for name in ["pi", "westwork", "anna"] {
            assert!(!is_account(name), "{name}");
        }
    }
}
