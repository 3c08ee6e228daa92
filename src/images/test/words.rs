//! Values in `tests.toml` that are more than text. Each is judged when the file is read, so that a
//! fault is told with its line, before an image is opened.

use crate::base::size::parse_size;
use debversion::Version;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Implements `Deserialize` for a type by its `parse`, from text, and what a schema says of it.
macro_rules! from_text {
    ($type:ty, $what:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $what})
            }
        }
    };
}

/// Permissions in octal: `"0644"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode(pub(super) u16);

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        let octal = text.len() >= 3 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u16::from_str_radix(text, 8) {
            Ok(mode) if octal && mode <= 0o7777 => Ok(Self(mode)),
            _ => Err(format!(
                "{text:?} is no mode; write it in octal, such as \"0644\""
            )),
        }
    }
}
from_text!(Mode, "permissions in octal, such as 0644");

/// A number of bytes: `"512M"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Size {
    fn parse(text: &str) -> Result<Self, String> {
        parse_size(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}
from_text!(Size, "a number of bytes with K, M or G, such as 512M");

/// `"10 %"` of what was, or so many bytes more: `"20M"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    Percent(u32),
    Bytes(u64),
}

impl Growth {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(number) = text.strip_suffix('%') {
            let percent = number.trim().parse().map(Self::Percent);
            return percent.map_err(|_| format!("{text:?} is no share; write it as \"10 %\""));
        }
        parse_size(text).map(Self::Bytes).map_err(|_| {
            format!("{text:?} is no growth; write \"10 %\", or a size such as \"20M\"")
        })
    }

    /// The most that `before` bytes may have become.
    pub(super) fn most(self, before: u64) -> u64 {
        match self {
            Self::Percent(percent) => {
                let more = u128::from(before) * u128::from(percent) / 100;
                before.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
            }
            Self::Bytes(bytes) => before.saturating_add(bytes),
        }
    }
}
from_text!(Growth, "a share such as 10 %, or a size such as 20M");

/// SHA-256 in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest(pub(super) String);

impl Digest {
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(format!("{text:?} is no SHA-256; it has 64 hex digits"))
    }
}
from_text!(Digest, "SHA-256 in hex");

/// A time: `"2026-01-31"` or RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When(pub(super) i64);

impl When {
    fn parse(text: &str) -> Result<Self, String> {
        let day = || {
            let date: jiff::civil::Date = text.parse().ok()?;
            Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        };
        let time = text.parse::<Timestamp>().ok().or_else(day);
        time.map(|time| Self(time.as_second())).ok_or_else(|| {
            format!("{text:?} is no time; write 2026-01-31, or 2026-01-31T12:00:00Z")
        })
    }
}
from_text!(When, "a day such as 2026-01-31, or a time of RFC 3339");

/// A regular expression. It is looked for anywhere in a text, `^` and `$` are the ends of lines.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub(super) regex::bytes::Regex);

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let mut builder = regex::bytes::RegexBuilder::new(text);
        let regex = builder.multi_line(true).size_limit(1 << 20).build();
        regex
            .map(Self)
            .map_err(|error| format!("{text:?} is no regular expression: {error}"))
    }
}
from_text!(
    Pattern,
    "a regular expression; ^ and $ are the ends of lines"
);

/// A relation to a version, as in the control files of packages: `">= 1.2-3"`.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    word: &'static str,
    version: Version,
}

impl Relation {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        for word in [">=", "<=", ">>", "<<", "="] {
            if let Some(version) = text.strip_prefix(word) {
                let version = version.trim();
                return match version.parse() {
                    Ok(version) => Ok(Self { word, version }),
                    Err(_) => Err(format!("{version:?} is no version of a package")),
                };
            }
        }
        Err(format!(
            "{text:?} is no relation; write >=, <=, =, >> or << and a version, such as \">= 1.2\""
        ))
    }

    /// Whether `version` is as it should be; `None` if it is no version.
    pub(super) fn holds(&self, version: &str) -> Option<bool> {
        let order = version.parse::<Version>().ok()?.cmp(&self.version);
        Some(match self.word {
            ">=" => order != Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">>" => order == Ordering::Greater,
            "<<" => order == Ordering::Less,
            _ => order == Ordering::Equal,
        })
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.word, self.version)
    }
}
from_text!(Relation, "a relation to a version, such as >= 1.2-3");

/// One text or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, or a list of texts")]
pub(super) enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_dpkg_does() {
        let holds = |relation: &str, version: &str| {
            Relation::parse(relation).unwrap().holds(version).unwrap()
        };
        assert!(holds(">= 1.2", "1.2-1"));
        assert!(holds("<< 1.0", "1.0~rc1"));
        assert!(holds(">> 9", "1:0.1"));
        assert!(holds("= 1.0-1", "1.0-1"));
        assert!(!holds(">= 1.10", "1.9"));
        assert!(!holds("<= 2.0-1", "2.0-1+deb13u1"));
        assert!(Relation::parse("> 1").is_err());
        assert!(Relation::parse("1.0").is_err());
    }

    #[test]
    fn values_are_what_people_write() {
        assert_eq!(Mode::parse("4755"), Ok(Mode(0o4755)));
        for wrong in ["", "7", "0888", "rw-", "77777", "-644"] {
            assert!(Mode::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Growth::parse("20 %").map(|g| g.most(100)), Ok(120));
        assert_eq!(Growth::parse("1K").map(|g| g.most(100)), Ok(1124));
        assert_eq!(When::parse("1970-01-02"), Ok(When(86400)));
        assert_eq!(When::parse("1970-01-01T01:00:00+01:00"), Ok(When(0)));
        assert!(When::parse("yesterday").is_err());
        assert!(Digest::parse("abc").is_err());
        assert!(Pattern::parse("(").is_err());
    }
}
