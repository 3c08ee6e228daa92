//! Licences of a package, from its `/usr/share/doc/PACKAGE/copyright`.
//!
//! Format of machine-readable files: Debian's copyright-format 1.0 ("DEP-5"). Its
//! short names become SPDX identifiers only where both mean the same text; anything
//! else becomes a `LicenseRef-` with the text that the file gives.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A licence that is not on the SPDX list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extracted {
    /// As the copyright file calls it.
    pub(super) name: String,
    pub(super) text: String,
}

/// What a copyright file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Licences {
    /// An SPDX licence expression (SPDX 2.3, annex D).
    pub(super) expression: String,
    /// The `LicenseRef-`s in it.
    pub(super) extracted: BTreeMap<String, Extracted>,
    /// Whether the file is one of prose, taken as a whole.
    pub(super) prose: bool,
}

/// Reads the `text` of a copyright file.
pub(super) fn read(text: &str) -> Licences {
    let machine_readable = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with("Format:") && line.contains("copyright-format"));
    machine_readable
        .then(|| dep5(text))
        .flatten()
        .unwrap_or_else(|| prose(text))
}

/// A file that only people can read: all of it is the licence.
fn prose(text: &str) -> Licences {
    let mut licences = Licences {
        prose: true,
        ..Licences::default()
    };
    licences.expression = licences.refer("copyright", text);
    licences
}

/// One paragraph of interest: what `License:` begins with, and the lines after it.
struct Paragraph {
    files: bool,
    header: bool,
    name: String,
    text: String,
}

/// All licences that files of the package are under, joined by AND.
fn dep5(text: &str) -> Option<Licences> {
    let paragraphs = paragraphs(text);
    let texts: BTreeMap<&str, &str> = paragraphs
        .iter()
        .filter(|paragraph| !paragraph.text.is_empty())
        .map(|paragraph| (paragraph.name.as_str(), paragraph.text.as_str()))
        .collect();
    let mut licences = Licences::default();
    let named = |wanted: fn(&Paragraph) -> bool| -> BTreeSet<&str> {
        paragraphs
            .iter()
            .filter(|paragraph| wanted(paragraph) && !paragraph.name.is_empty())
            .map(|paragraph| paragraph.name.as_str())
            .collect()
    };
    let mut names = named(|paragraph| paragraph.files);
    if names.is_empty() {
        names = named(|paragraph| paragraph.header);
    }
    let parts: Vec<Term> = names
        .into_iter()
        .map(|name| licences.synopsis(name, &texts))
        .collect();
    licences.expression = Term::joined(true, parts).to_string();
    (!licences.expression.is_empty()).then_some(licences)
}

/// An expression in which nothing is said twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Term {
    One(String),
    And(BTreeSet<Term>),
    Or(BTreeSet<Term>),
}

impl Term {
    /// `parts` joined by AND, or else by OR.
    fn joined(and: bool, parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = BTreeSet::new();
        for part in parts {
            match part {
                Self::And(inner) if and => all.extend(inner),
                Self::Or(inner) if !and => all.extend(inner),
                other => {
                    all.insert(other);
                }
            }
        }
        match all.len() {
            1 => all.into_iter().next().unwrap_or(Self::And(BTreeSet::new())),
            _ if and => Self::And(all),
            _ => Self::Or(all),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::One(id) => return f.write_str(id),
            Self::And(parts) => (parts, " AND "),
            Self::Or(parts) => (parts, " OR "),
        };
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                f.write_str(word)?;
            }
            match part {
                Self::One(id) => f.write_str(id)?,
                other => write!(f, "({other})")?,
            }
        }
        Ok(())
    }
}

fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut paragraphs = Vec::new();
    let mut lines = text.lines().peekable();
    let mut header = true;
    while lines.peek().is_some() {
        let mut paragraph = Paragraph {
            files: false,
            header,
            name: String::new(),
            text: String::new(),
        };
        let mut in_licence = false;
        let mut empty = true;
        for line in lines.by_ref() {
            if line.trim().is_empty() {
                break;
            }
            empty = false;
            if line.starts_with([' ', '\t']) {
                if in_licence {
                    let line = line[1..].trim_end();
                    paragraph.text.push_str(if line == "." { "" } else { line });
                    paragraph.text.push('\n');
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            in_licence = field.eq_ignore_ascii_case("License");
            if in_licence {
                value.trim().clone_into(&mut paragraph.name);
            }
            paragraph.files |= field.eq_ignore_ascii_case("Files");
        }
        if !empty {
            header = false;
            paragraphs.push(paragraph);
        }
    }
    paragraphs
}

impl Licences {
    /// The expression for the first line of a `License:` field: names joined by "and"
    /// and "or", where a comma before the word makes it bind less.
    fn synopsis(&mut self, synopsis: &str, texts: &BTreeMap<&str, &str>) -> Term {
        let words: Vec<&str> = synopsis.split_whitespace().collect();
        let synopsis = words.join(" ");
        let mut segments = synopsis.split(", ");
        let mut parts = vec![segments.next().unwrap_or_default()];
        let mut and = None;
        for segment in segments {
            let (joined, rest) = match segment.split_once(' ') {
                Some(("and", rest)) => (true, rest),
                Some(("or", rest)) => (false, rest),
                // A list whose sense only a person can tell.
                _ => return self.named(&synopsis, texts),
            };
            if *and.get_or_insert(joined) != joined {
                return self.named(&synopsis, texts);
            }
            parts.push(rest);
        }
        let parts: Vec<Term> = parts
            .into_iter()
            .map(|part| self.alternatives(part, texts))
            .collect();
        Term::joined(and.unwrap_or(true), parts)
    }

    fn alternatives(&mut self, text: &str, texts: &BTreeMap<&str, &str>) -> Term {
        let mut any = Vec::new();
        for all in text.split(" or ") {
            let names: Vec<Term> = all
                .split(" and ")
                .map(|name| self.named(name, texts))
                .collect();
            any.push(Term::joined(true, names));
        }
        Term::joined(false, any)
    }

    /// One licence by its name.
    fn named(&mut self, name: &str, texts: &BTreeMap<&str, &str>) -> Term {
        let name = name.trim().trim_end_matches(',');
        Term::One(spdx_id(name).unwrap_or_else(|| {
            // The schema wants a text; a name alone says that the file has none.
            self.refer(name, texts.get(name).unwrap_or(&name))
        }))
    }

    /// A reference to a licence that is not on the list; the same for the same text.
    fn refer(&mut self, name: &str, text: &str) -> String {
        let part = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        };
        let short: String = name.chars().map(part).take(60).collect();
        let digest = hex::encode(Sha256::digest(format!("{name}\0{text}")));
        let id = format!("LicenseRef-{}-{}", short.trim_matches('-'), &digest[..12]);
        let extracted = Extracted {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        self.extracted.insert(id.clone(), extracted);
        id
    }
}

/// The SPDX identifier (with `+` where SPDX writes it so) that means the same as
/// Debian's short `name`.
fn spdx_id(name: &str) -> Option<String> {
    if name.eq_ignore_ascii_case("Expat") {
        return Some("MIT".to_owned());
    }
    let (base, later) = match name.strip_suffix('+') {
        Some(base) => (base, true),
        None => (name, false),
    };
    for family in ["GPL", "LGPL", "AGPL", "GFDL", "GFDL-NIV"] {
        let version = base
            .strip_prefix(family)
            .and_then(|rest| rest.strip_prefix('-'));
        let Some(version) = version.filter(|v| v.starts_with(|c: char| c.is_ascii_digit())) else {
            continue;
        };
        let dot = if version.contains('.') { "" } else { ".0" };
        let invariants = if family == "GFDL-NIV" {
            "-no-invariants"
        } else {
            ""
        };
        let family = family.trim_end_matches("-NIV");
        let which = if later { "or-later" } else { "only" };
        let id = format!("{family}-{version}{dot}{invariants}-{which}");
        return spdx::license_id(&id).map(|id| id.name.to_owned());
    }
    let listed = spdx::identifiers::LICENSES
        .iter()
        .find(|licence| licence.name.eq_ignore_ascii_case(base))
        .and_then(|licence| spdx::license_id(licence.name))
        .filter(|id| !id.is_deprecated())?;
    let plus = if later { "+" } else { "" };
    Some(format!("{}{plus}", listed.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_identifiers_only_where_they_mean_the_same() {
        for (debian, spdx) in [
            ("GPL-2", Some("GPL-2.0-only")),
            ("GPL-2+", Some("GPL-2.0-or-later")),
            ("LGPL-2.1+", Some("LGPL-2.1-or-later")),
            ("GFDL-NIV-1.3+", Some("GFDL-1.3-no-invariants-or-later")),
            ("Expat", Some("MIT")),
            ("expat", Some("MIT")),
            ("BSD-3-clause", Some("BSD-3-Clause")),
            ("Apache-2.0", Some("Apache-2.0")),
            ("MPL-1.1+", Some("MPL-1.1+")),
            ("public-domain", None),
            ("GPL-2+ with OpenSSL exception", None),
            ("Artistic", None),
        ] {
            assert_eq!(spdx_id(debian).as_deref(), spdx, "{debian}");
        }
    }

    #[test]
    fn a_machine_readable_file_gives_an_expression_and_texts() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
                    \n\
                    Files: *\nCopyright: x\nLicense: GPL-2+ or Artistic, and Expat\n\
                    \n\
                    Files: debian/*\nCopyright: y\nLicense: own\n Do what you like,\n .\n really.\n\
                    \n\
                    License: Artistic\n The text.\n";
        let licences = read(text);
        let refs: Vec<_> = licences.extracted.keys().collect();
        assert_eq!(
            licences.expression,
            format!("{} AND MIT AND (GPL-2.0-or-later OR {})", refs[1], refs[0])
        );
        assert_eq!(licences.extracted[refs[0]].text, "The text.\n");
        assert_eq!(
            licences.extracted[refs[1]].text,
            "Do what you like,\n\nreally.\n"
        );
        spdx::Expression::parse(&licences.expression).unwrap();
    }

    #[test]
    fn prose_is_one_licence_of_its_own() {
        let licences = read("This is the Debian package of x.\n");
        assert!(licences.expression.starts_with("LicenseRef-copyright-"));
        assert_eq!(licences.extracted.len(), 1);
    }
}
