//! What stage 3's own configuration, rendered by the set-up, says to the outside. `tests/run box`
//! attacks services that run with it; this is the part of it that takes no time.

mod common;

use common::{Device, Setup};
use std::collections::BTreeSet;
use std::path::Path;

const FILES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../stages/stage3/02-conf/files"
);

/// A box that has been set up with the image's templates.
fn device() -> Device {
    let device = Device::new();
    for service in ["nftables", "nginx", "postfix", "dovecot", "slapd"] {
        for entry in Path::new(FILES).join(service).read_dir().unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = entry.file_name().into_string().unwrap();
                let text = std::fs::read_to_string(entry.path()).unwrap();
                device.write(&format!("data/conf/{service}/{name}"), &text);
            }
        }
    }
    device.start().complete(&device.code(), &Setup::answers());
    device
}

/// The ports of the rules that begin with `tcp dport`, those of the wire if `wire`.
fn ports(rules: &str, wire: bool) -> BTreeSet<u16> {
    rules
        .lines()
        .filter(|line| !wire || !line.contains("iifname \"wlan0\""))
        .filter_map(|line| line.split("tcp dport ").nth(1))
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').collect(),
            None => vec![rest.split(' ').next().unwrap()],
        })
        .map(|port| port.trim().parse().unwrap())
        .collect()
}

#[test]
fn the_firewall_lets_in_what_is_meant_and_brakes_who_guesses() {
    let device = device();
    let rules = device.read("data/conf/nftables/nftables.conf");
    let open = [22, 25, 80, 443, 465, 587, 993];
    assert_eq!(ports(&rules, true), open.into(), "{rules}");
    for chain in ["ssh", "mail"] {
        for family in ["4", "6"] {
            let brake = format!("update @{chain}_new{family} {{");
            let line = rules.lines().find(|line| line.contains(&brake));
            let line = line.unwrap_or_else(|| panic!("{chain}{family} has no brake: {rules}"));
            assert!(
                line.contains("limit rate over") && line.ends_with("drop"),
                "{line}"
            );
        }
    }
    assert!(rules.contains("tcp dport 22 ct state new jump ssh"));
    assert!(rules.contains("tcp dport { 465, 587, 993 } ct state new jump mail"));
    assert_eq!(rules.matches("policy drop;").count(), 2, "{rules}");
    let before = device.read("data/conf/nftables/setup.conf");
    assert_eq!(ports(&before, true), [22, 80].into(), "{before}");
    assert_eq!(ports(&before, false), [22, 53, 80].into(), "{before}");
    // The directory is for the box alone, whatever the firewall lets in.
    let slapd = device.read("data/conf/slapd/environment");
    assert!(slapd.contains("SLAPD_SERVICES=\"ldapi:/// ldaps://127.0.0.1/\""));
}

#[test]
fn mail_is_taken_from_whom_it_says_and_over_tls_of_today() {
    let device = device();
    let main = device.read("data/conf/postfix/main.cf");
    let value = |key: &str| {
        let line = main.lines().find_map(|line| line.strip_prefix(key));
        let line = line.and_then(|line| line.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("no {key} in {main}"))
            .to_owned()
    };
    for key in ["smtpd_tls_protocols", "smtpd_tls_mandatory_protocols"] {
        assert_eq!(value(key), ">=TLSv1.2");
    }
    assert_eq!(value("smtpd_tls_exclude_ciphers"), "aNULL");
    assert_eq!(value("smtpd_tls_auth_only"), "yes");
    assert_eq!(value("smtpd_sasl_auth_enable"), "no");
    assert_eq!(value("disable_vrfy_command"), "yes");
    let own = value("smtpd_sender_restrictions");
    assert!(own.contains("{ family.example.org = 550 "), "{own}");
    // Who logs in does it over TLS, or from the box itself.
    let master = device.read("data/conf/postfix/master.cf");
    let services: Vec<&str> = master
        .split("\n")
        .filter(|line| !line.starts_with([' ', '#']) && line.contains(" inet "))
        .collect();
    assert_eq!(services.len(), 4, "{services:?}");
    for service in services {
        let rest = master.split(service).nth(1).unwrap();
        let options: Vec<&str> = rest
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with(' '))
            .collect();
        let has = |option: &str| options.iter().any(|line| line.ends_with(option));
        let logs_in = has("smtpd_sasl_auth_enable=yes");
        let is_safe = has("smtpd_tls_security_level=encrypt") || service.starts_with("127.0.0.1:");
        assert!(!logs_in || is_safe, "{service}: {options:?}");
        assert_eq!(logs_in, !service.starts_with("smtp "), "{service}");
    }
    let dovecot = device.read("data/conf/dovecot/dovecot.conf");
    assert!(dovecot.contains("ssl = required"), "{dovecot}");
    // Its own default is TLS 1.2.
    assert!(!dovecot.contains("ssl_min_protocol"), "{dovecot}");
}

#[test]
fn the_web_takes_few_logins_a_minute_and_tls_of_today() {
    let nginx = device().read("data/conf/nginx/nginx.conf");
    for line in [
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "limit_req_zone $login_of zone=logins:1m rate=10r/m;",
        "limit_req zone=logins burst=10 nodelay;",
    ] {
        assert!(nginx.contains(line), "no {line} in {nginx}");
    }
    assert!(!nginx.contains("8448"), "a port of the chat without it");
}
