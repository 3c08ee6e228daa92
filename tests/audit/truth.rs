//! What is installed, which faults it has, and the same in the form of Debian's security tracker.

use serde_json::{Value, json};

/// Package, source as dpkg writes it, version.
pub(crate) const INSTALLED: [(&str, &str, &str); 10] = [
    ("libssl3t64", "openssl", "3.5.1-1"),
    ("bash", "", "5.2.37-2"),
    ("zlib1g", "zlib (1:1.3-1)", "1:1.3-1+b2"),
    ("perl-base", "perl", "5.40.1-6"),
    ("foo-data", "foo", "1-1"),
    ("bluez", "", "5.82-1.1+rpt1"),
    ("linux-image", "linux", "1:6.12.25-1+rpt1"),
    ("passwd", "shadow", "1:4.17.4-2"),
    ("curl", "", "8.14.1-2~deb13u1"),
    ("gcc", "gcc-defaults (1.220)", "4:14.2.0-1"),
];

/// Source, identifier, fixed version (`None`: open), what the release and its security archive have.
pub(crate) type Fault = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
);

pub(crate) const FAULTS: [Fault; 17] = [
    (
        "openssl",
        "CVE-2026-0001",
        Some("3.5.1-1+deb13u1"),
        "3.5.1-1",
        "3.5.1-1+deb13u1",
    ),
    (
        "openssl",
        "CVE-2026-0002",
        Some("3.5.1-1"),
        "3.5.1-1",
        "3.5.1-1+deb13u1",
    ),
    (
        "openssl",
        "CVE-2026-0003",
        Some("0"),
        "3.5.1-1",
        "3.5.1-1+deb13u1",
    ),
    (
        "bash",
        "CVE-2026-0004",
        Some("5.2.37-2+deb13u1"),
        "5.2.37-2+deb13u1",
        "",
    ),
    ("zlib", "CVE-2026-0005", None, "1:1.3-1", ""),
    ("perl", "CVE-2026-0006", None, "5.40.1-6", ""),
    ("foo", "CVE-2026-0007", Some("1-2"), "1-2", ""),
    ("bluez", "CVE-2026-0008", Some("5.82-1.1"), "5.82-1.1", ""),
    (
        "bluez",
        "CVE-2026-0009",
        Some("5.82-1.1+deb13u1"),
        "5.82-1.1",
        "5.82-1.1+deb13u1",
    ),
    ("linux", "CVE-2026-0010", Some("6.12.30-1"), "6.12.30-1", ""),
    ("linux", "CVE-2026-0011", Some("6.12.20-1"), "6.12.30-1", ""),
    (
        "shadow",
        "CVE-2026-0012",
        Some("1:4.17.4-3"),
        "1:4.17.4-3",
        "",
    ),
    ("shadow", "CVE-2026-0013", Some("9.0-1"), "1:4.17.4-3", ""),
    ("curl", "CVE-2026-0014", Some("8.14.1-2"), "8.14.1-2", ""),
    (
        "curl",
        "CVE-2026-0015",
        Some("8.14.1-2~deb13u1"),
        "8.14.1-2",
        "",
    ),
    ("gcc-defaults", "CVE-2026-0016", Some("1.221"), "1.221", ""),
    ("absent", "CVE-2026-0017", None, "1", ""),
];

/// What of these counts for the packages above.
pub(crate) const FOUND: [&str; 10] = [
    "bash CVE-2026-0004",
    "bluez CVE-2026-0009",
    "curl CVE-2026-0014",
    "foo CVE-2026-0007",
    "gcc-defaults CVE-2026-0016",
    "linux CVE-2026-0010",
    "openssl CVE-2026-0001",
    "perl CVE-2026-0006",
    "shadow CVE-2026-0012",
    "zlib CVE-2026-0005",
];

/// The tracker's data.
pub(crate) fn tracker() -> Value {
    let mut all = json!({});
    for (source, id, fixed, release, security) in FAULTS {
        let mut repositories = json!({"trixie": release});
        if !security.is_empty() {
            repositories["trixie-security"] = json!(security);
        }
        let mut state =
            json!({"status": "open", "repositories": repositories, "urgency": "not yet assigned"});
        if let Some(fixed) = fixed {
            state["status"] = json!("resolved");
            state["fixed_version"] = json!(fixed);
        }
        match source {
            "perl" => {
                state["nodsa"] = json!("Minor issue");
                state["nodsa_reason"] = json!("postponed");
            }
            "zlib" => state["urgency"] = json!("unimportant"),
            "bash" => state["urgency"] = json!("high**"),
            _ => {}
        }
        let elsewhere = json!({"status": "open", "repositories": {"sid": "1"}, "urgency": "high"});
        all[source][id] = json!({"description": format!("a fault of {source}"), "scope": "remote",
            "debianbug": 1, "releases": {"trixie": state, "sid": elsewhere}});
        all[source]["CVE-2026-9999"] =
            json!({"description": "elsewhere", "releases": {"sid": elsewhere}});
    }
    all
}

pub(crate) fn status() -> String {
    let package = |(name, source, version): (&str, &str, &str)| {
        let source = if source.is_empty() {
            String::new()
        } else {
            format!("Source: {source}\n")
        };
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: arm64\n{source}Version: {version}\n\n"
        )
    };
    INSTALLED.map(package).concat()
}
