//! Answers of a system, and what is made of them.

use super::*;
use std::path::Path;

const TESTS: &str = "[[unit]]\nunit = \"a\"\nactive = true\n[[port]]\nport = 22\n\
                     [[command]]\nrun = \"x\"\ncontains = \"y\"\nwithin = 3\n";

/// The verdicts of three tests, for a system that has said `lines`.
fn verdicts(lines: &str) -> Vec<Verdict> {
    let sources = [Source::parse(Path::new("t.toml"), TESTS.to_owned()).unwrap()];
    let answer = Answer {
        moment: "start".to_owned(),
        said: Ok(lines.as_bytes().to_vec()),
        elapsed: Duration::ZERO,
    };
    let outcomes = outcomes(&questions(&sources), &answer);
    assert_eq!(outcomes[0].kind, "start");
    outcomes.into_iter().skip(1).map(|it| it.verdict).collect()
}

#[test]
fn answers_become_verdicts() {
    let line = |number, code, text: &str| format!("{number} {code} 20 {}\n", STANDARD.encode(text));
    let good = line(0, 0, "ActiveState=active") + &line(1, 0, "") + &line(2, 0, "y");
    assert_eq!(
        verdicts(&good),
        [Verdict::Passed, Verdict::Passed, Verdict::Passed]
    );
    let failed = |why: &str| Verdict::Failed(why.to_owned());
    let bad = line(0, 3, "Result=exit-code ActiveState=failed SubState=failed ")
        + &line(1, 1, "")
        + &line(2, 124, "");
    let wanted = [
        failed("it is failed (failed), its result exit-code"),
        failed("nothing listens"),
        failed("it took longer than 3 s"),
    ];
    assert_eq!(verdicts(&bad), wanted);
    let other = verdicts(&line(2, 1, "no\u{1b}[2J"));
    assert!(matches!(&other[0], Verdict::Unclear(_)), "{other:?}");
    let words = "it ended with 1, not 0: no\\u{1b}[2J; \"y\" is not in it";
    assert_eq!(other[2], failed(words));
}
