//! The program's own parts that decide what a step makes of the same input: by their bytes, so
//! that nobody has to think of raising a number.

use crate::plan::step::StepKind;
use sha2::{Digest, Sha256};

/// A part of the program, and the steps that it takes part in.
pub(super) struct Part {
    /// Where it is below `src/`.
    pub(super) name: &'static str,
    /// The file.
    pub(super) text: &'static str,
    /// Whether it takes part in steps of this kind.
    pub(super) is_for: fn(StepKind) -> bool,
}

macro_rules! parts {
    ($($is_for:expr => [$($name:literal)+])+) => {
        &[$($(Part {
            name: $name,
            text: include_str!(concat!("../", $name)),
            is_for: $is_for,
        },)+)+]
    };
}

/// Every one.
pub(super) const PARTS: &[Part] = parts! {
    |_| true => [
        "pipeline/layer.rs" "pipeline/step.rs" "pipeline/scene.rs" "sandbox/confine.rs"
        "sandbox/init.rs" "sandbox/isolate.rs" "sandbox/rootfs.rs" "sandbox/stand_ins.rs"
        "steps/script.rs"
    ]
    |kind| is_host(kind) => [
        "pipeline/view.rs" "sandbox/own_root.rs" "sandbox/view.rs" "archives/mmdebstrap.rs"
        "steps/bootstrap.rs" "steps/request.rs" "steps/functions.sh" "native/cross.rs"
        "native/python.rs"
    ]
    |kind| is_host(kind) || kind == StepKind::RunChroot => ["steps/trace.rs"]
    |kind| kind == StepKind::Patches => ["steps/patch.rs"]
    |_| true => ["steps/apt.rs"]
};

/// Whether a step is a script of the build machine's side.
pub(crate) fn is_host(kind: StepKind) -> bool {
    matches!(kind, StepKind::RunHost | StepKind::Prerun)
}

/// Name and checksum of each of `parts` that takes part in steps of `kind`.
pub(super) fn of(parts: &[Part], kind: StepKind) -> impl Iterator<Item = (String, String)> + '_ {
    let parts = parts.iter().filter(move |part| (part.is_for)(kind));
    parts.map(|part| {
        let sum = hex::encode(Sha256::digest(essence(part.text)));
        (format!("westwork-gen's {}", part.name), sum)
    })
}

/// The text without what does nothing: lines that are comments, and tests at the end.
fn essence(text: &str) -> String {
    let code = text.split("#[cfg(test)]\n").next().unwrap_or_default();
    let lines = code.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with("//")
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_changes_nothing_and_a_command_does() {
        assert_eq!(essence("// a\nb\n\n    /// c\n"), "b\n");
        assert_ne!(essence("b\n"), essence("c\n"));
        assert_eq!(essence("b\n#[cfg(test)]\nmod tests {\n"), "b\n");
    }
}
