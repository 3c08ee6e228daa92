//! `westwork user` against a real slapd (packages slapd and ldap-utils).

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::synapse::Synapse;
use common::{Device, Setup};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Slapd(Child);

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A box set up through the page, with a real directory.
fn device() -> (Device, Slapd) {
    set_up(Device::new())
}

fn set_up(device: Device) -> (Device, Slapd) {
    for program in [
        "usr/sbin/slapadd",
        "usr/sbin/slapcat",
        "usr/bin/ldapadd",
        "usr/bin/ldapmodify",
        "usr/bin/ldapsearch",
    ] {
        let _ = std::fs::remove_file(device.path(program));
        symlink(format!("/{program}"), device.path(program)).unwrap();
    }
    // The image's own configuration, in this root, without what only the device has.
    let root = device.root().display().to_string();
    let template = include_str!("../../stages/stage3/02-conf/files/slapd/slapd.conf.mustache");
    let template = template.replace("/data/ldap", &format!("{root}/data/ldap"));
    let lines = template.lines().filter(|line| !line.starts_with("TLS"));
    let template: String = lines.map(|line| format!("{line}\n")).collect();
    let pid = format!("pidfile {root}/slapd.pid\n");
    device.write("data/conf/slapd/slapd.conf.mustache", &(pid + &template));
    let mut setup = device.start();
    setup.log_in(&device.code());
    let mut answers = Setup::answers();
    answers[1].1 = "Zoë \"Ada\" Lovelace, Countess";
    setup.post("/form", &answers);
    setup.get("/review");
    setup.post("/begin", &[]);
    setup.wait_for("/done", "Your Westwork is ready");
    drop(setup);
    let slapd = start_slapd(&device);
    (device, slapd)
}

fn start_slapd(device: &Device) -> Slapd {
    let socket = device.path("run/slapd/ldapi");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let url = format!(
        "ldapi://{}",
        socket.display().to_string().replace('/', "%2F")
    );
    let _ = std::fs::remove_file(&socket);
    let conf = device.path("data/conf/slapd/slapd.conf");
    let child = Command::new("/usr/sbin/slapd")
        .args(["-d", "0", "-h", &url, "-f"])
        .arg(conf)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    // The socket is there a moment before slapd listens.
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "slapd does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Slapd(child)
}

fn user(device: &Device, arguments: &[&str], input: &str) -> Output {
    let mut command = device.command(&["user"]);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn socket(device: &Device) -> String {
    let socket = device.path("run/slapd/ldapi").display().to_string();
    format!("ldapi://{}", socket.replace('/', "%2F"))
}

/// Can somebody log in with this password?
fn binds(device: &Device, user: &str, password: &str) -> bool {
    let dn = format!("uid={user},ou=people,dc=family,dc=example,dc=org");
    Command::new("/usr/bin/ldapwhoami")
        .args(["-x", "-H", &socket(device), "-D", &dn, "-w", password])
        .output()
        .unwrap()
        .status
        .success()
}

#[test]
fn people_come_change_and_go() {
    let (device, _slapd) = device();
    assert!(binds(&device, "ada", "correct horse battery"));
    assert!(!binds(&device, "ada", "wrong horse battery"));
    let list = || {
        let output = user(&device, &["list"], "");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        list().contains("Zoë \"Ada\" Lovelace, Countess"),
        "{}",
        list()
    );

    let added = user(
        &device,
        &["add", "bob", "--name", "Bob <b>, \"#\""],
        "four words of bread\n",
    );
    assert!(
        added.status.success(),
        "{}",
        String::from_utf8_lossy(&added.stderr)
    );
    assert!(
        list().contains("bob@family.example.org") && binds(&device, "bob", "four words of bread")
    );
    for (arguments, password) in [
        (["add", "bob", "--name", "Bob"], "four words of bread\n"),
        (["add", "x)(uid=*", "--name", "X"], "four words of bread\n"),
        (["add", "eve", "--name", "Eve"], "short\n"),
        (
            ["add", "eve", "--name", "E\nuserPassword: x"],
            "four words of bread\n",
        ),
    ] {
        assert!(
            !user(&device, &arguments, password).status.success(),
            "{arguments:?}"
        );
    }
    assert!(
        user(&device, &["passwd", "bob"], "quite another one\n")
            .status
            .success()
    );
    assert!(
        !binds(&device, "bob", "four words of bread") && binds(&device, "bob", "quite another one")
    );
    assert!(
        !user(&device, &["passwd", "nobody-here"], "quite another one\n")
            .status
            .success()
    );
    assert!(
        !user(&device, &["remove", "ada"], "").status.success(),
        "the owner stays"
    );
}

/// Who was there when a backup was made is there again with the password of then, and the backup
/// has no password in it.
#[test]
fn people_are_in_a_backup() {
    let (device, slapd) = device();
    let (then, later) = ("four words of bread", "quite another one");
    let succeeds = |arguments: &[&str], input: &str| {
        let output = user(&device, arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    };
    succeeds(&["add", "bob", "--name", "Bob"], then);
    let key = String::from_utf8(device.westwork(&["backup-key"]).stdout).unwrap();
    let backup = device.path("backup.wwb");
    drop(slapd);
    let output = device.westwork(&["backup", backup.to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listing = common::backups::listing(&backup, &key);
    assert!(
        listing.contains("directory.ldif") && !listing.contains("data/ldap"),
        "{listing}"
    );
    let text = common::backups::member(&backup, &key, "directory.ldif");
    assert!(text.contains("uid=bob,") && text.contains("userPassword:: "));
    for password in [then, "correct horse battery"] {
        assert!(!text.contains(password) && !text.contains(&STANDARD.encode(password)));
    }

    let slapd = start_slapd(&device);
    succeeds(&["passwd", "bob"], later);
    succeeds(&["add", "carol", "--name", "Carol"], then);
    assert!(binds(&device, "bob", later) && binds(&device, "carol", then));
    drop(slapd);
    let output = common::backups::restore(&device, &backup, &key);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let _slapd = start_slapd(&device);
    assert!(binds(&device, "bob", then) && binds(&device, "ada", "correct horse battery"));
    assert!(!binds(&device, "bob", later) && !binds(&device, "carol", then));
}

/// The directory alone does not end sessions of the chat: Synapse is told, or nothing is done.
#[test]
fn who_is_removed_is_out_of_the_chat() {
    let fresh = Device::new();
    std::fs::create_dir_all(fresh.path("data/conf/matrix-synapse")).unwrap();
    let (device, _slapd) = set_up(fresh);
    let (bread, other) = ("four words of bread", "quite another one");
    let add = ["add", "bob", "--name", "Bob"];
    assert!(user(&device, &add, bread).status.success());
    let refused = user(&device, &["remove", "bob"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("bob is not removed"),
        "{said}"
    );
    assert!(binds(&device, "bob", bread), "half removed");

    let secret = device.read("data/conf/westwork/secrets/synapse_registration");
    let synapse = Synapse::start(secret.trim());
    let bob = "@bob:family.example.org";
    for name in [bob, "@ada:family.example.org"] {
        synapse.log_in(name, &["telephone", "desk"]);
    }
    assert!(user(&device, &["passwd", "bob"], other).status.success());
    assert_eq!(synapse.sessions(bob), 0, "logged in with the old password");
    synapse.log_in(bob, &["telephone"]);
    // As after a restore of the chat's own data.
    synapse.forget_administrators();
    let removed = user(&device, &["remove", "bob"], "");
    let said = String::from_utf8_lossy(&removed.stderr).into_owned();
    assert!(removed.status.success(), "{said}");
    assert_eq!(synapse.sessions(bob), 0, "removed, and still in the chat");
    assert!(synapse.is_closed(bob) && !binds(&device, "bob", other));
    assert_eq!(synapse.sessions("@ada:family.example.org"), 2);

    assert!(!user(&device, &add, bread).status.success());
    let again = [&add[..], &["--same-person"]].concat();
    assert!(user(&device, &again, bread).status.success());
    assert!(!synapse.is_closed(bob));
    // Others' chats with this name stay, so that purging mail does not free it.
    let purge = ["remove", "bob", "--purge"];
    assert!(user(&device, &purge, "").status.success());
    assert!(synapse.is_closed(bob) && !user(&device, &add, bread).status.success());
}

/// Names are not given to others, who would get mail and chats that were meant for somebody.
#[test]
fn a_name_is_not_inherited() {
    let (device, _slapd) = device();
    let bread = "four words of bread\n";
    let add = |more: &[&str]| {
        let arguments = [&["add", "bob", "--name", "Bob"], more].concat();
        let output = user(&device, &arguments, bread);
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert!(add(&[]).0);
    device.write("data/mail/family.example.org/bob/new/1", "mail");
    assert!(user(&device, &["remove", "bob"], "").status.success());
    let mailbox = device.path("data/mail/family.example.org/bob");
    assert!(!binds(&device, "bob", bread.trim()) && mailbox.exists());
    let (added, said) = add(&[]);
    assert!(
        !added && said.contains("was somebody's name before"),
        "{said}"
    );
    assert!(add(&["--same-person"]).0, "but back to the same person");
    assert!(
        user(&device, &["remove", "bob", "--purge"], "")
            .status
            .success()
    );
    assert!(!mailbox.exists());
    assert!(add(&[]).0, "nothing is left to inherit, without chat");
}

/// A person's own program writes the password as it is; what is stored is a hash.
#[test]
fn a_password_changed_by_ldapmodify_is_hashed() {
    let (device, slapd) = device();
    let dn = "uid=ada,ou=people,dc=family,dc=example,dc=org";
    let change = format!(
        "dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: quite another one\n"
    );
    let mut command = Command::new("/usr/bin/ldapmodify");
    command.args([
        "-x",
        "-H",
        &socket(&device),
        "-D",
        dn,
        "-w",
        "correct horse battery",
    ]);
    let output = common::with_input(&mut command, &change);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(binds(&device, "ada", "quite another one"));
    assert!(!binds(&device, "ada", "correct horse battery"));
    drop(slapd);
    let conf = device.path("data/conf/slapd/slapd.conf");
    let dump = Command::new("/usr/sbin/slapcat")
        .args(["-o", "ldif-wrap=no", "-f"])
        .arg(conf)
        .output()
        .unwrap();
    let dump = String::from_utf8(dump.stdout).unwrap();
    let stored: Vec<_> = dump
        .lines()
        .filter_map(|line| line.strip_prefix("userPassword:: "))
        .map(|value| String::from_utf8(STANDARD.decode(value).unwrap()).unwrap())
        .collect();
    assert_eq!(stored.len(), 2, "{dump}");
    assert!(
        stored
            .iter()
            .all(|hash| hash.starts_with("{CRYPT}$6$rounds=50000$")),
        "{stored:?}"
    );
}
