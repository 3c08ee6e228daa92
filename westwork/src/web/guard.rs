//! The one-time code: who knows it sits at the console or holds the card.

use crate::root::{Root, make_directory, write_file};
use crate::secrets::{Secret, random_text};
use anyhow::Result;
use std::io::Write;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Wrong codes in a row without a wait.
const FREE: u32 = 5;
/// Doubled with each further one up to `LONGEST`. 2^40 codes, one a minute: nobody guesses it,
/// and nobody in radio range keeps the owner out for longer than that.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);

/// Judges codes, for all clients together.
#[derive(Debug)]
pub(super) struct Guard {
    code: Secret,
    wrong: u32,
    closed_until: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Right,
    Wrong,
    /// Not even looked at.
    Wait(Duration),
}

impl Guard {
    pub(super) fn new(code: Secret) -> Self {
        Self {
            code,
            wrong: 0,
            closed_until: None,
        }
    }

    pub(super) fn judge(&mut self, typed: &str, now: Instant) -> Judgement {
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Judgement::Wait(until - now);
        }
        let typed: String = typed
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if bool::from(typed.as_bytes().ct_eq(self.code.reveal().as_bytes())) {
            self.wrong = 0;
            return Judgement::Right;
        }
        self.wrong += 1;
        if self.wrong >= FREE {
            let factor = 2_u32.saturating_pow((self.wrong - FREE).min(8));
            self.closed_until = Some(now + (FIRST_WAIT * factor).min(LONGEST));
        }
        Judgement::Wrong
    }
}

/// The box's code: the same until it is configured, so that the card can be read in another
/// computer; shown on the console and written on the boot partition.
pub(super) fn announce(root: &Root) -> Result<Secret> {
    let path = root.own().join("secrets/setup_code");
    make_directory(&root.own().join("secrets"), 0o700)?;
    let code = match std::fs::read_to_string(&path) {
        Ok(code) if code.len() == 8 => code,
        _ => {
            let code = random_text(8)?;
            write_file(&path, 0o600, code.as_bytes())?;
            code
        }
    };
    let shown = format!("{}-{}", &code[..4], &code[4..]);
    let boot = root.path("/boot/firmware");
    if boot.is_dir() {
        write_file(
            &boot.join("westwork-code.txt"),
            0o600,
            format!("{shown}\r\n").as_bytes(),
        )?;
    }
    let text = format!(
        "\n  Westwork: join the Wi-Fi network \"Westwork\", open http://192.168.30.1\n  Set-up code: {shown}\n\n"
    );
    let issue = root.path("/run/issue.d");
    make_directory(&issue, 0o755)?;
    write_file(&issue.join("westwork.issue"), 0o600, text.as_bytes())?;
    if let Ok(mut console) = std::fs::File::options()
        .write(true)
        .open(root.path("/dev/tty1"))
    {
        // No screen, no loss: the code is on the card as well.
        let _ = console.write_all(text.replace('\n', "\r\n").as_bytes());
    }
    Ok(Secret::new(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_gets_slow() {
        let mut guard = Guard::new(Secret::new("abcdefgh"));
        let start = Instant::now();
        for _ in 0..FREE {
            assert_eq!(guard.judge("wrong", start), Judgement::Wrong);
        }
        assert!(matches!(
            guard.judge("abcd-efgh", start),
            Judgement::Wait(_)
        ));
        let mut now = start;
        let mut tries = 0;
        while now < start + Duration::from_secs(3600) {
            match guard.judge("wrong", now) {
                Judgement::Wait(time) => now += time,
                _ => tries += 1,
            }
        }
        assert!(tries < 70, "{tries} codes in an hour");
        assert_eq!(guard.judge("ABCD-EFGH ", now + LONGEST), Judgement::Right);
        assert!(!format!("{guard:?}").contains("abcdefgh"));
    }
}
