//! Names of users and of hosts, as they may be everywhere.

/// Whether `name` may be the name of an ordinary user: adduser's `NAME_REGEX` of Debian, at most
/// `longest` bytes, and not root.
pub(crate) fn is_user(name: &str, longest: usize) -> bool {
    let rest = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    name.len() <= longest
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(rest)
        && name != "root"
}

/// One label of a host name (RFC 1123).
pub(crate) fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Labels with dots between them.
pub(crate) fn is_host(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_lower_case_and_not_root() {
        assert!(is_user("pi", 32) && is_user("a-1_b", 32) && is_user(&"a".repeat(32), 32));
        for bad in ["", "root", "1a", "Ann", "a.b", "Ä", "a b", &"a".repeat(33)] {
            assert!(!is_user(bad, 32), "{bad}");
        }
    }

    #[test]
    fn hosts_are_labels_with_dots() {
        assert!(is_host("pi-1") && is_host("a.b.c") && !is_label("a.b"));
        for bad in ["", "-pi", "pi-", "a..b", "a_b", &"a".repeat(64)] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
