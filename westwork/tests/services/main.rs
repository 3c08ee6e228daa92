//! The services of a box, attacked from outside: trixie's own packages with stage 3's
//! configuration, in namespaces of this machine. Needs root and an archive of packages at the
//! first time; `tests/run box` runs it.

#[path = "../common/mod.rs"]
mod common;
mod root;

use common::Setup;
use root::{BOX, BOX6, Box, HOME, shell};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a box without chat answers from outside.
const PORTS: &str = "22 25 80 443 465 587 993";
const PASSWORD: &str = "correct horse battery";

fn set_up(machine: &Box) {
    let mut page = Command::new("ip")
        .args(["netns", "exec", "box", "chroot"])
        .arg(&machine.root)
        .args(["westwork", "setup", "--listen", &format!("{HOME}:8080")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let address = format!("{HOME}:8080").parse().unwrap();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "no page");
        std::thread::sleep(Duration::from_millis(100));
    }
    let code = std::fs::read_to_string(machine.root.join("data/conf/westwork/secrets/setup_code"));
    let log = std::sync::Arc::default();
    let child = Command::new("true").spawn().unwrap();
    let (cookie, csrf) = (String::new(), String::new());
    let mut setup = Setup {
        child,
        address,
        cookie,
        csrf,
        log,
    };
    setup.complete(&code.unwrap(), &Setup::answers());
    page.kill().unwrap();
    page.wait().unwrap();
}

/// client.py in the place of everybody outside.
fn client(arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/client.py");
    let output = Command::new("python3")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said.trim().to_owned()
}

#[test]
#[ignore = "needs root, and Debian's archive the first time: tests/run box"]
fn a_box_holds_against_the_outside() {
    if !root::inside("a_box_holds_against_the_outside") {
        return;
    }
    let begin = Instant::now();
    let mut machine = Box::new();
    set_up(&machine);
    machine.normal_use();
    println!("in normal use after {} s", begin.elapsed().as_secs());
    client(&["ready", BOX]);
    passwords_are_hashed(&machine);
    strangers_are_not_of_the_household();
    versions_of_tls();
    ciphers();
    for service in ["web", "imaps", "smtps", "submission", "ssh"] {
        println!("{service}: {}", client(&["guess", BOX, service]));
    }
    println!("web mail: {}", client(&["web_brake", BOX]));
    let log = machine.sh("cat /run/dovecot.log");
    let told = log.lines().any(|line| {
        let local = ["lip=127.0.0.1,", "lip=::1,"]
            .iter()
            .any(|own| line.contains(own));
        local && line.contains("Logged in: user=<ada@") && line.contains("rip=203.0.113.6,")
    });
    assert!(told, "the web mail does not say for whom it asks: {log}");
    println!("one person's typing: {}", client(&["typing", BOX]));
    open_ports();
    // The brake has met those whom it is for.
    machine.sh("nft list set inet westwork mail_new4 | grep -q 203.0.113.11");
}

fn open_ports() {
    for (flags, address) in [("", BOX), ("-6", BOX6)] {
        let line = format!(
            "nmap {flags} -n -Pn -sT -T4 --min-rate 8000 --max-retries 1 -p- -oG - {address}"
        );
        let text = shell(&line);
        let mut open: Vec<u16> = text
            .split([' ', ','])
            .filter(|word| word.contains("/open/"))
            .filter_map(|word| word.split('/').next()?.parse().ok())
            .collect();
        open.sort_unstable();
        let open: Vec<String> = open.iter().map(u16::to_string).collect();
        assert_eq!(open.join(" "), PORTS, "{address}");
    }
}

/// One connection a question: who asks more is braked.
fn versions_of_tls() {
    for (port, more) in [
        (25, "-starttls smtp"),
        (443, ""),
        (465, ""),
        (587, "-starttls smtp"),
        (993, ""),
    ] {
        for (version, taken) in [
            ("tls1", false),
            ("tls1_1", false),
            ("tls1_2", true),
            ("tls1_3", true),
        ] {
            let said = shell(&format!(
                "openssl s_client -connect {BOX}:{port} {more} -{version} -cipher ALL:@SECLEVEL=0 </dev/null 2>&1 || true"
            ));
            assert!(
                !said.contains("no protocols available"),
                "this machine cannot ask: {said}"
            );
            let agreed = said.contains("Server public key is");
            assert_eq!(agreed, taken, "port {port}, {version}: {said}");
        }
    }
}

/// Every suite that a port takes, by nmap's own list of what there is. It asks from the box itself:
/// from outside it is braked long before it has asked for all.
fn ciphers() {
    let ports = "25,443,465,587,993";
    let said = shell(&format!(
        "ip netns exec box nmap -n -Pn -sT --script ssl-enum-ciphers -p {ports} 127.0.0.1"
    ));
    let sections: Vec<&str> = said.split("/tcp ").skip(1).collect();
    assert_eq!(sections.len(), ports.split(',').count(), "{said}");
    for (port, section) in ports.split(',').zip(sections) {
        let versions: Vec<&str> = section
            .lines()
            .filter_map(|line| line.trim_start_matches(['|', ' ']).strip_suffix(": "))
            .filter(|name| name.starts_with("TLS") || name.starts_with("SSL"))
            .collect();
        assert_eq!(versions, ["TLSv1.2", "TLSv1.3"], "port {port}: {said}");
        let suites: Vec<&str> = section
            .split_whitespace()
            .filter(|word| word.starts_with("TLS_"))
            .collect();
        let is_weak = |suite: &&&str| {
            let parts = ["_anon_", "_NULL", "EXPORT", "RC4", "DES_", "MD5"];
            parts.iter().any(|part| suite.contains(part))
        };
        let weak: Vec<_> = suites.iter().filter(is_weak).collect();
        assert!(weak.is_empty(), "port {port}: {weak:?}");
        let least = section.lines().find(|line| line.contains("least strength"));
        println!(
            "port {port}: {} suites, {}",
            suites.len(),
            least
                .unwrap_or_default()
                .trim_start_matches(['|', '_', ' '])
        );
    }
}

fn strangers_are_not_of_the_household() {
    let send = |from: &str| client(&["send", BOX, from, "ada@family.example.org"]);
    assert!(
        send("friend@example.com").starts_with("250"),
        "{}",
        send("friend@example.com")
    );
    for from in [
        "ada@family.example.org",
        "nobody@family.example.org",
        "x@sub.family.example.org",
    ] {
        assert!(
            send(from).starts_with("550 5.7.1"),
            "{from}: {}",
            send(from)
        );
    }
    let asked = client(&["verify", BOX, "ada@family.example.org"]);
    assert!(asked.starts_with("502"), "{asked}");
}

/// A person changes the own password by a program of their own.
fn passwords_are_hashed(machine: &Box) {
    let dn = "uid=ada,ou=people,dc=family,dc=example,dc=org";
    let said = machine.sh(&format!(
        "printf 'dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: {PASSWORD}\n' |
         ldapmodify -x -H ldapi:/// -D {dn} -w '{PASSWORD}'
         slapcat -o ldif-wrap=no -f /data/conf/slapd/slapd.conf | sed -n 's/^userPassword:: //p' |
         while read -r hash; do echo $hash | base64 -d; echo; done
         runuser -u nobody -- ldapsearch -Q -LLL -Y EXTERNAL -H ldapi:/// -b dc=family,dc=example,dc=org 2>&1 || true"
    ));
    assert!(said.contains("{CRYPT}$6$rounds=50000$"), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    assert!(
        !said.contains("mail: ada"),
        "any user of the box reads the directory: {said}"
    );
}
