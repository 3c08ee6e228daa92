//! Keys that pi-gen had once.

/// Keys of pi-gen's past, and what to do instead.
const PAST: &[(&str, &str)] = &[
    (
        "WPA_ESSID",
        "remove it; `westwork-gen flash --wifi` writes a network onto the card, or a stage does",
    ),
    (
        "WPA_PASSWORD",
        "remove it; `westwork-gen flash --wifi` asks for a network's password, or a stage has it",
    ),
    ("ZIP_FILENAME", "write ARCHIVE_FILENAME"),
];

/// Keys of pi-gen's past that change nothing in the image.
const WITHOUT_EFFECT: &[&str] = &["BASE_QCOW2_SIZE", "NO_PRERUN_QCOW2"];

/// What is to be done about a key that pi-gen had once.
pub(super) fn replacement(name: &str) -> Option<&'static str> {
    let row = PAST.iter().find(|(past, _)| *past == name);
    row.map(|(_, remedy)| *remedy)
}

/// Whether pi-gen once had a key `name` that would change nothing here.
pub(super) fn is_past_without_effect(name: &str) -> bool {
    WITHOUT_EFFECT.contains(&name)
}

/// Whether pi-gen has had a key `name` once.
pub(super) fn is_past(name: &str) -> bool {
    replacement(name).is_some() || is_past_without_effect(name)
}
