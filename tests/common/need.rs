//! Tests that cannot pass by not running. [`need!`] is for what `tests/run` can bring or the machine
//! must have; [`left_out!`] is for what is right to leave out.
//!
//! `tests/run` sets `WESTWORK_TEST_STRICT`, under which an unmet need fails, and
//! `WESTWORK_TEST_SKIPPED`, a file that counts what was left out.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test binary uses its share of it"
)]

use std::io::Write;
use std::path::Path;

/// Needs that several tests share; each is true, or what is missing in words.
pub(crate) type Need = Result<(), String>;

/// Goes on if `$need`, a [`Need`], is met. If not, the test fails under `tests/run`; elsewhere it
/// says "skipped" and ends.
macro_rules! need {
    ($need:expr) => {
        let need: $crate::need::Need = $need;
        if let Err(missing) = need {
            $crate::need::missing($crate::need::test_name!(), &missing);
            return;
        }
    };
}
pub(crate) use need;

/// Says that the test leaves something out that cannot be done here and need not be; counted.
macro_rules! left_out {
    ($($why:tt)+) => {
        $crate::need::count($crate::need::test_name!(), &format!($($why)+))
    };
}
pub(crate) use left_out;

/// The path of the test function that this stands in.
macro_rules! test_name {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here).trim_end_matches("::here")
    }};
}
pub(crate) use test_name;

/// An unmet need of `test`.
///
/// # Panics
/// Under `tests/run`, where nothing may be missing.
pub(crate) fn missing(test: &str, what: &str) {
    assert!(
        std::env::var_os("WESTWORK_TEST_STRICT").is_none_or(|value| value != "1"),
        "{what}; the test cannot run without it"
    );
    count(test, what);
}

/// Prints a line, and adds it to the file that `tests/run` counts.
pub(crate) fn count(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    if let Some(file) = std::env::var_os("WESTWORK_TEST_SKIPPED") {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(file);
        writeln!(
            file.expect("opening the list of skipped tests"),
            "{test}: {why}"
        )
        .expect("writing the list of skipped tests");
    }
}

/// Root's rights.
pub(crate) fn root() -> Need {
    let status = std::fs::metadata("/proc/self").map_err(|error| format!("no /proc: {error}"))?;
    match std::os::unix::fs::MetadataExt::uid(&status) {
        0 => Ok(()),
        uid => Err(format!("root is needed, and this is user {uid}")),
    }
}

/// Programs, by their names.
pub(crate) fn tools(tools: &[&str]) -> Need {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let is_there = |tool: &str| {
        path.split(':')
            .any(|dir| Path::new(dir).join(tool).exists())
    };
    let missing: Vec<_> = tools
        .iter()
        .copied()
        .filter(|tool| !is_there(tool))
        .collect();
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(format!("not installed: {}", missing.join(" "))),
    }
}
