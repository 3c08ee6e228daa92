//! Judging codes. Every code is judged, and a right one always counts; what is limited is how
//! fast one client's codes are judged.
//!
//! A client's codes take turns of a second. With 60 bits and at most [`CLIENTS`] codes a second a
//! guesser needs some ten million years for an even chance, and has no way to make others wait.

use crate::secrets::Secret;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Between two codes of one client.
const PACE: Duration = Duration::from_secs(1);
/// Who would wait longer is told to come back.
const LONGEST: Duration = Duration::from_secs(2);
/// Clients within one second; the set-up network has 253 addresses.
const CLIENTS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Guard {
    code: Secret,
    /// When each client's next turn is.
    turns: HashMap<IpAddr, Instant>,
}

impl Guard {
    pub(super) fn new(code: Secret) -> Self {
        Self {
            code,
            turns: HashMap::new(),
        }
    }

    /// Takes a client's next turn: how long it is until then. None if that is too long.
    pub(super) fn turn(&mut self, client: IpAddr, now: Instant) -> Option<Duration> {
        if self.turns.len() >= CLIENTS {
            self.turns.retain(|_, next| *next > now);
        }
        let full = self.turns.len() >= CLIENTS;
        if full && !self.turns.contains_key(&client) {
            return None;
        }
        let next = self.turns.entry(client).or_insert(now);
        let wait = next.saturating_duration_since(now);
        if wait > LONGEST {
            return None;
        }
        *next = now + wait + PACE;
        Some(wait)
    }

    /// Who had the right code need not wait.
    pub(super) fn forget(&mut self, client: IpAddr) {
        self.turns.remove(&client);
    }

    pub(super) fn is_right(&self, typed: &str) -> bool {
        let typed: String = typed
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        typed.as_bytes().ct_eq(self.code.reveal().as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(0xc0a8_0000 + number).into()
    }

    /// Codes that `clients` together have judged in `seconds`, each trying ten times a second.
    fn judged(clients: u32, seconds: u32) -> u64 {
        let mut guard = Guard::new(Secret::new("abcdefghjkmn"));
        let start = Instant::now();
        let mut judged = 0;
        for tenth in 0..seconds * 10 {
            let now = start + Duration::from_millis(u64::from(tenth) * 100);
            judged += (0..clients)
                .filter(|number| guard.turn(client(*number), now).is_some())
                .count() as u64;
        }
        judged
    }

    #[test]
    fn a_guesser_has_no_better_odds_than_with_one_code_of_40_bits_a_minute() {
        // What the limit for all together let through in an hour, of 2^40 codes.
        let before = 65.0 / 2_f64.powi(40);
        for clients in [1, 50, 253, 5000] {
            let codes = judged(clients, 12) * 300;
            let now = codes as f64 / 2_f64.powi(60);
            println!("{clients} clients: {codes} codes an hour, {now:.1e}; before {before:.1e}");
            assert!(now < before, "{clients} clients: {now:.1e}");
        }
        assert!(judged(1, 60) <= 63);
    }

    #[test]
    fn nobody_else_makes_a_client_wait() {
        let mut guard = Guard::new(Secret::new("abcdefghjkmn"));
        let now = Instant::now();
        for number in 0..253 {
            while guard.turn(client(number), now).is_some() {}
        }
        assert_eq!(guard.turn(client(1000), now), Some(Duration::ZERO));
        assert!(guard.is_right("ABCD-efgh-jkmn ") && !guard.is_right("abcd-efgh-jkmm"));
        assert!(!format!("{guard:?}").contains("abcdefgh"));
    }
}
