//! The owner's domain name, which ends up in every service's configuration.

use serde::{Deserialize, Serialize};

/// A domain name of at least two labels, lower case, as A-labels: letters, digits, hyphens and
/// dots, at most 253 bytes (RFC 1123, RFC 5890). Nothing in it is special in any configuration
/// format, shell, LDAP name or filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// Accepts what people type, other scripts included; the error is a sentence for them.
    ///
    /// Whether a name is a public suffix such as `co.uk` is not known here.
    pub fn parse(typed: &str) -> Result<Self, String> {
        let typed = typed.trim();
        let typed = typed.strip_suffix('.').unwrap_or(typed);
        if typed.is_empty() {
            return Err("Enter a domain name, for example family.example.org.".into());
        }
        if typed.chars().count() > 253 {
            return Err("A domain name has at most 253 characters.".into());
        }
        let wrong = || "Only letters, digits, hyphens and dots can be in a domain name.".to_owned();
        let ascii = idna::domain_to_ascii_cow(typed.as_bytes(), idna::AsciiDenyList::STD3)
            .map_err(|_| wrong())?;
        let labels: Vec<&str> = ascii.split('.').collect();
        if ascii.len() > 253 {
            return Err("A domain name has at most 253 characters.".into());
        }
        if labels
            .iter()
            .any(|label| label.is_empty() || label.len() > 63)
        {
            return Err("The parts between the dots have 1 to 63 characters.".into());
        }
        if labels.iter().any(|label| !is_ldh(label)) {
            return Err(wrong());
        }
        if labels.len() < 2 {
            return Err("A domain name has at least two parts, for example example.org.".into());
        }
        if labels[labels.len() - 1].starts_with(|c: char| c.is_ascii_digit()) {
            return Err("This is an address, not a domain name.".into());
        }
        Ok(Self(ascii.into_owned()))
    }

    /// As A-labels: what programs and certificates use.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In the letters of its language, for people.
    pub fn display(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// `dc=example,dc=org`
    pub fn ldap_base(&self) -> String {
        self.0
            .split('.')
            .map(|label| format!("dc={label}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Can a public authority sign for it? Not for names that exist in a home network only.
    pub fn is_public(&self) -> bool {
        let private = [
            "local",
            "internal",
            "test",
            "lan",
            "home",
            "localhost",
            "invalid",
            "example",
            "onion",
        ];
        !self.0.ends_with(".home.arpa")
            && !private
                .iter()
                .any(|last| self.0.rsplit('.').next() == Some(last))
    }
}

fn is_ldh(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

impl TryFrom<String> for Domain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_people_have() {
        for (typed, stored) in [
            ("example.org", "example.org"),
            (" Family.Example.ORG. ", "family.example.org"),
            ("müller.de", "xn--mller-kva.de"),
            ("例え.jp", "xn--r8jz45g.jp"),
            ("box.local", "box.local"),
            ("1.example.org", "1.example.org"),
        ] {
            assert_eq!(Domain::parse(typed).unwrap().as_str(), stored);
        }
        assert_eq!(Domain::parse("müller.de").unwrap().display(), "müller.de");
        assert_eq!(
            Domain::parse("a.b.org").unwrap().ldap_base(),
            "dc=a,dc=b,dc=org"
        );
        assert!(!Domain::parse("box.local").unwrap().is_public());
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = format!("{}.org", "a".repeat(64));
        let very_long = format!("{}org", "abcdefghi.".repeat(30));
        for typed in [
            "",
            " ",
            ".",
            "..",
            "a..org",
            ".org",
            "org",
            "localhost",
            "192.168.30.1",
            "::1",
            "[::1]",
            "a.1",
            "-a.org",
            "a-.org",
            "a_b.org",
            "a b.org",
            "a\nb.org",
            "a\tb.org",
            "a\0.org",
            "a;b.org",
            "$(id).org",
            "`id`.org",
            "a|b.org",
            "a&b.org",
            "a>b.org",
            "a'b.org",
            "a\"b.org",
            "a\\b.org",
            "a,dc=b.org",
            "a)(uid=*.org",
            "*.org",
            "a{b}.org",
            "a#b.org",
            "a%b.org",
            "a/b.org",
            "a:80.org",
            "user@a.org",
            "http://a.org",
            "{{domain}}.org",
            "xn--a.org",
            "xn--.org",
            "a=b.org",
            "a!b.org",
            "a;b.org",
            "/etc/passwd",
            "../a.org",
            &long,
            &very_long,
        ] {
            assert!(Domain::parse(typed).is_err(), "{typed:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_nothing_special_gets_through(typed in "\\PC{0,300}") {
            if let Ok(domain) = Domain::parse(&typed) {
                let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
                prop_assert!(domain.as_str().chars().all(ok));
                prop_assert!(domain.as_str().len() <= 253);
                prop_assert_eq!(Domain::parse(domain.as_str()), Ok(domain.clone()));
            }
        }
    }
}
