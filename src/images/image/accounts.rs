//! How users log in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What is asked of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Password {
    /// One is needed.
    Set,
    /// None will do.
    Locked,
    /// None is needed.
    Empty,
}

impl Password {
    /// As it is written in tests and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Locked => "locked",
            Self::Empty => "empty",
        }
    }
}

/// The hashes of shadow(5), by the users' names.
pub(crate) struct Passwords<'a>(HashMap<&'a str, &'a str>);

impl<'a> Passwords<'a> {
    /// Of the text of /etc/shadow. The first line of a user counts.
    pub(crate) fn of(shadow: &'a str) -> Self {
        let hash = |line: &'a str| {
            let (name, rest) = line.split_once(':')?;
            Some((name, rest.split(':').next().unwrap_or("*")))
        };
        Self(shadow.lines().rev().filter_map(hash).collect())
    }

    /// A user who is not there has no password that would do. A hash that begins with `!` or `*` is
    /// that of no password.
    pub(crate) fn get(&self, user: &str) -> Password {
        match self.0.get(user) {
            Some(&"") => Password::Empty,
            Some(hash) if !hash.starts_with(['!', '*']) => Password::Set,
            _ => Password::Locked,
        }
    }

    /// Names of those who need none, in their order.
    pub(crate) fn empty(&self) -> Vec<&'a str> {
        let empty = self.0.iter().filter(|(_, hash)| hash.is_empty());
        let mut names: Vec<&str> = empty.map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_what_shadow_says() {
        let shadow = "a::1:\nb:!x:1:\nc:*:1:\nd:$y$x:1:\na:$y$x:1:\n";
        let passwords = Passwords::of(shadow);
        let all = ["a", "b", "c", "d", "e"].map(|user| passwords.get(user));
        use Password::{Empty, Locked, Set};
        assert_eq!(all, [Empty, Locked, Locked, Set, Locked]);
        assert_eq!(passwords.empty(), ["a"]);
    }
}
