//! Names that the releases of Debian have: of time zones, locales, keyboard layouts, accounts and
//! countries. `scripts/lists` makes the lists of the releases' own packages; what the build machine
//! has does not count.

/// The names of one release.
pub(crate) struct Names {
    /// Time zones, by the names in the tzdata package.
    pub(crate) time_zones: List,
    /// Names of time zones that the release has moved out of it, and the present ones.
    pub(crate) moved_zones: List,
    /// Locales with UTF-8, as glibc names them.
    pub(crate) locales: List,
    /// Keyboard layouts of X, and what each is for.
    pub(crate) keyboards: List,
    /// Layout, variant, and what it is for.
    pub(crate) variants: List,
    accounts: List,
    /// Countries whose rules for radio the kernel is given.
    pub(crate) radio_countries: List,
}

/// Lines of text, the first of which says where they are from.
pub(crate) struct List(&'static str);

macro_rules! names {
    ($release:literal) => {
        Names {
            time_zones: List(include_str!(concat!($release, "/time-zones"))),
            moved_zones: List(include_str!(concat!($release, "/moved-zones"))),
            locales: List(include_str!(concat!($release, "/locales"))),
            keyboards: List(include_str!(concat!($release, "/keyboards"))),
            variants: List(include_str!(concat!($release, "/keyboard-variants"))),
            accounts: List(include_str!(concat!($release, "/accounts"))),
            radio_countries: List(include_str!(concat!($release, "/radio-countries"))),
        }
    };
}

static BOOKWORM: Names = names!("bookworm");
static TRIXIE: Names = names!("trixie");

/// ISO 3166-1 is the same whatever the release; this is the newest edition.
static COUNTRIES: List = List(include_str!("trixie/countries"));

/// What packages and scripts of stages make, whatever the release.
static MADE: List = List(include_str!("accounts"));

/// The names that `release` has; those of the newest one for a release that is newer still.
pub(crate) fn names(release: &str) -> &'static Names {
    match release {
        "bookworm" => &BOOKWORM,
        _ => &TRIXIE,
    }
}

impl List {
    /// Its lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.0.lines().filter(|line| !line.starts_with('#'))
    }

    /// Its lines as the first word of each and the rest.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        self.lines().filter_map(|line| line.split_once(' '))
    }

    /// Whether one of its lines is `text`.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.lines().any(|line| line == text)
    }
}

impl Names {
    /// Whether an account or a group of this name is there before the first user is made, or comes
    /// with a package of a later stage.
    pub(crate) fn has_account(&self, name: &str) -> bool {
        self.accounts.has(name) || MADE.has(name) || name.starts_with("systemd-")
    }
}

/// Whether any release has such an account or group: for an image whose release is not known.
pub(crate) fn any_has_account(name: &str) -> bool {
    [&BOOKWORM, &TRIXIE]
        .iter()
        .any(|names| names.has_account(name))
}

/// An ISO 3166-1 alpha-2 code.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(crate) fn country(text: &str) -> Result<(), (String, String)> {
    if COUNTRIES.has(text) {
        return Ok(());
    }
    let upper = text.to_ascii_uppercase();
    let remedy = match upper.as_str() {
        "UK" => "write GB".to_owned(),
        upper if COUNTRIES.has(upper) => format!("write {upper}"),
        _ => "write two letters such as GB, DE or US (ISO 3166)".to_owned(),
    };
    Err((format!("{text} is not a country code"), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_says_where_it_is_from() {
        for (names, release) in [(&BOOKWORM, "bookworm"), (&TRIXIE, "trixie")] {
            for list in [
                &names.time_zones,
                &names.moved_zones,
                &names.locales,
                &names.keyboards,
                &names.variants,
                &names.accounts,
                &names.radio_countries,
            ] {
                let first = list.0.lines().next().unwrap();
                assert!(
                    first.contains(&format!("in {release} (package ")),
                    "{first}"
                );
            }
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
            "openldap",
        ] {
            assert!(names("trixie").has_account(name), "{name}");
            assert!(any_has_account(name), "{name}");
        }
        for name in ["pi", "westwork", "anna"] {
            assert!(!any_has_account(name), "{name}");
        }
    }
}
