//! `westwork certificate`, with the machine's openssl and a stand-in for certbot.

mod common;

use common::{Device, Setup};
use std::path::PathBuf;
use std::process::Command;

/// A box that was set up with these answers in place of others.
fn device(changes: &[(&str, &str)]) -> Device {
    let device = Device::new();
    let mut answers = Setup::answers();
    for change in changes {
        answers.retain(|(name, _)| *name != change.0);
    }
    answers.extend(changes);
    device.start().complete(&device.code(), &answers);
    device
}

fn openssl(arguments: &[&str], file: &PathBuf) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn serial(device: &Device) -> String {
    let file = device.path("data/conf/tls/fullchain.pem");
    openssl(&["x509", "-noout", "-serial", "-in"], &file)
}

#[test]
fn the_self_signed_one_is_for_this_server_alone() {
    let device = device(&[]);
    let tls = device.path("data/conf/tls");
    let own = tls.join("fullchain.pem");
    let text = openssl(&["x509", "-noout", "-text", "-in"], &own);
    for part in [
        "CA:FALSE",
        "TLS Web Server Authentication",
        "DNS:family.example.org",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("CA:TRUE"), "{text}");
    // Another server's, signed with its key, is not believed by who trusts it.
    let (folder, bank) = (tls.display(), tls.join("bank.pem"));
    let made = Command::new("sh")
        .arg("-ec")
        .arg(format!(
            "cd '{folder}'; openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout bank.key -subj /CN=bank.example.com -out bank.csr
             openssl x509 -req -in bank.csr -CA fullchain.pem -CAkey privkey.pem -set_serial 1 -days 9 -out bank.pem"
        ))
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let trusting = [
        "verify",
        "-purpose",
        "sslserver",
        "-CAfile",
        own.to_str().unwrap(),
    ];
    let own_verdict = openssl(&trusting, &own);
    assert!(own_verdict.contains("OK"), "{own_verdict}");
    let verdict = openssl(&trusting, &bank);
    assert!(!verdict.contains("OK"), "{verdict}");
}

#[test]
fn the_self_signed_one_is_renewed_in_time() {
    let device = device(&[]);
    let first = serial(&device);
    let output = device.westwork(&["certificate"]);
    assert!(
        output.status.success() && serial(&device) == first,
        "it is good for long"
    );
    // One that ends in twenty days.
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
        ])
        .args(["-days", "20", "-subj", "/CN=old", "-keyout"])
        .arg(device.path("data/conf/tls/self-signed/privkey.pem"))
        .arg("-out")
        .arg(device.path("data/conf/tls/self-signed/fullchain.pem"))
        .output()
        .unwrap();
    assert!(made.status.success());
    let ending = serial(&device);
    assert!(device.westwork(&["certificate"]).status.success());
    assert_ne!(serial(&device), ending);
    assert!(
        device
            .read("calls")
            .contains("systemctl try-reload-or-restart")
    );
    // One that is not there, as after a factory reset of before.
    std::fs::remove_dir_all(device.path("data/conf/tls/self-signed")).unwrap();
    assert!(device.westwork(&["certificate"]).status.success());
    assert!(serial(&device).starts_with("serial="));
}

#[test]
fn links_lead_to_what_is_there() {
    let lets_encrypt = [
        ("certificate", "lets-encrypt"),
        ("email", "ada@example.org"),
    ];
    let device = device(&lets_encrypt);
    let first = serial(&device);
    // certbot keeps a renewal of this name it cannot use, and takes another name.
    let certbot = |folder: &str| {
        format!(
            "while [ $# -gt 1 ]; do [ \"$1\" = --config-dir ] && d=$2; shift; done
             mkdir -p \"$d/live/{folder}\"
             cp $R/data/conf/tls/self-signed/*.pem \"$d/live/{folder}/\""
        )
    };
    device.program("usr/bin/certbot", &certbot("family.example.org-0001"));
    let output = device.westwork(&["certificate"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("the certificate in use stays"),
        "{said}"
    );
    assert_eq!(serial(&device), first);
    device.program("usr/bin/certbot", &certbot("family.example.org"));
    let output = device.westwork(&["certificate"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let link = std::fs::read_link(device.path("data/conf/tls/privkey.pem")).unwrap();
    assert_eq!(
        link,
        PathBuf::from("/data/conf/letsencrypt/live/family.example.org/privkey.pem")
    );
}
