//! Versions, as those who number them compare them.

use debversion::Version;
use regex::Regex;
use std::cmp::Ordering;
use std::sync::LazyLock;

/// How dpkg orders two versions; `None` if one is none.
pub(super) fn deb(a: &str, b: &str) -> Option<Ordering> {
    let (a, b): (Version, Version) = (a.parse().ok()?, b.parse().ok()?);
    Some(a.cmp(&b))
}

/// How PEP 440 orders two versions.
pub(super) fn python(a: &str, b: &str) -> Option<Ordering> {
    let (a, b): (pep440_rs::Version, pep440_rs::Version) = (a.parse().ok()?, b.parse().ok()?);
    Some(a.cmp(&b))
}

/// How Semantic Versioning orders two versions: by precedence, in which build metadata is nothing.
pub(super) fn semantic(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (
        semver::Version::parse(a).ok()?,
        semver::Version::parse(b).ok()?,
    );
    Some(a.cmp_precedence(&b))
}

/// Raspberry Pi's and Raspbian's mark in a version: `+rpt1`, `~rpt2`, `+rpi1~bookworm1`, `-rpt1`.
static FORK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[-+~]rp[it][0-9.]*(~[a-z]+[0-9]*)?").unwrap_or_else(|_| unreachable!())
});

/// The version of Debian that the fork `version` stands on; `None` if it is no fork. `debian` is a
/// version of the same source in Debian: a fork that has an epoch where Debian has none is compared
/// without it, since it would be newer than everything.
pub(super) fn base(version: &str, debian: Option<&str>) -> Option<String> {
    if !FORK.is_match(version) {
        return None;
    }
    let base = FORK.replace_all(version, "").into_owned();
    let epoch = |version: &str| {
        version
            .split_once(':')
            .map_or(0, |(e, _)| e.parse().unwrap_or(0))
    };
    let ours: u64 = epoch(&base);
    match debian {
        Some(debian) if ours > epoch(debian) => {
            let rest = base.split_once(':').map_or(&*base, |(_, rest)| rest);
            Some(match debian.split_once(':') {
                Some((theirs, _)) => format!("{theirs}:{rest}"),
                None => rest.to_owned(),
            })
        }
        _ => Some(base),
    }
}

/// A source's version, from that of a binary package: without the mark of a rebuild, `+b2`.
pub(super) fn without_rebuild(version: &str) -> &str {
    match version.rsplit_once("+b") {
        Some((source, number))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            source
        }
        _ => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_stand_on_a_version_of_debian() {
        let of = |version, debian| base(version, debian);
        assert_eq!(of("1.2-3+deb13u1", None), None);
        assert_eq!(of("1.2-3+rpt1", None).unwrap(), "1.2-3");
        assert_eq!(
            of("1:9.2p1-2+rpt1+deb12u3", Some("1:9.2p1-2")).unwrap(),
            "1:9.2p1-2+deb12u3"
        );
        assert_eq!(of("2.5-1+rpi1~bookworm1", None).unwrap(), "2.5-1");
        // Raspberry Pi's kernel has an epoch, Debian's has none.
        assert_eq!(
            of("1:6.12.25-1+rpt1", Some("6.12.30-1")).unwrap(),
            "6.12.25-1"
        );
        assert_eq!(
            of("126.0.6478.164-rpt1", Some("126.0-1~deb12u1")).unwrap(),
            "126.0.6478.164"
        );
        assert_eq!(of("1:2-1+rpt1", None).unwrap(), "1:2-1");
    }

    #[test]
    fn each_ecosystem_has_its_order() {
        assert_eq!(deb("1.0-1~deb13u1", "1.0-1"), Some(Ordering::Less));
        assert_eq!(deb("1:0.5", "9.9"), Some(Ordering::Greater));
        assert_eq!(python("1.0rc1", "1.0"), Some(Ordering::Less));
        assert_eq!(python("1.10", "1.9.post1"), Some(Ordering::Greater));
        assert_eq!(
            semantic("1.0.0-alpha.2", "1.0.0-alpha.10"),
            Some(Ordering::Less)
        );
        assert_eq!(semantic("1.0", "1.0.0"), None);
        assert_eq!(without_rebuild("5.2.37-2+b10"), "5.2.37-2");
        assert_eq!(without_rebuild("1.0+beta"), "1.0+beta");
    }
}
