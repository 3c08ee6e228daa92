//! `westwork user` against a real slapd (packages slapd and ldap-utils).

mod common;

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
    let device = Device::new();
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
    let root = device.root().display();
    device.write(
        "data/conf/slapd/slapd.conf.mustache",
        &format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             pidfile {root}/slapd.pid\ndatabase mdb\nsuffix {{{{ldap.base}}}}\ndirectory {root}/data/ldap\n\
             access to attrs=userPassword by dn.exact=gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth manage by anonymous auth\n\
             access to * by dn.exact=gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth manage by users read\n"
        ),
    );
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

/// Can somebody log in with this password?
fn binds(device: &Device, user: &str, password: &str) -> bool {
    let url = format!(
        "ldapi://{}",
        device
            .path("run/slapd/ldapi")
            .display()
            .to_string()
            .replace('/', "%2F")
    );
    let dn = format!("uid={user},ou=people,dc=family,dc=example,dc=org");
    Command::new("/usr/bin/ldapwhoami")
        .args(["-x", "-H", &url, "-D", &dn, "-w", password])
        .output()
        .unwrap()
        .status
        .success()
}

#[test]
fn people_come_change_and_go() {
    let (device, slapd) = device();
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

    // A backup of it brings everybody over to another box.
    let backup = device.path("backup.wwb");
    drop(slapd);
    let output = device.westwork(&["backup", backup.to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!String::from_utf8_lossy(&std::fs::read(&backup).unwrap()).contains("bread"));

    let _slapd = start_slapd(&device);
    device.write("data/mail/family.example.org/bob/new/1", "mail");
    assert!(user(&device, &["remove", "bob"], "").status.success());
    assert!(!list().contains("bob@") && device.path("data/mail/family.example.org/bob").exists());
    assert!(
        user(
            &device,
            &["add", "bob", "--name", "Bob"],
            "four words of bread\n"
        )
        .status
        .success()
    );
    assert!(
        user(&device, &["remove", "bob", "--purge"], "")
            .status
            .success()
    );
    assert!(!device.path("data/mail/family.example.org/bob").exists());
}
