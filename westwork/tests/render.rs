//! `westwork render` on a root of its own, with stand-ins for the services' checkers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const SETTINGS: &str = "domain = 'example.org'\nowner = {name = 'Ada', user = 'ada'}\nwifi = {country = 'DE'}\ncertificate = {kind = 'self-signed'}\n";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn executable(root: &Path, path: &str, text: &str) {
    write(root, path, text);
    std::fs::set_permissions(root.join(path), PermissionsExt::from_mode(0o755)).unwrap();
}

fn read(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap_or_default()
}

fn fixture() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "data/conf/westwork/settings.toml", SETTINGS);
    write(
        root.path(),
        "data/conf/nginx/nginx.conf.mustache",
        "server_name {{domain}};\n",
    );
    write(
        root.path(),
        "data/conf/postfix/main.cf.mustache",
        "myhostname = {{domain}}\n",
    );
    write(root.path(), "data/conf/postfix/main.cf", "old\n");
    write(root.path(), "data/conf/keep", "kept\n");
    std::os::unix::fs::symlink("nowhere", root.path().join("data/conf/link")).unwrap();
    root
}

fn render(root: &Path, extra: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_westwork"))
        .args(["render", "--root"])
        .arg(root)
        .args(extra)
        .output()
        .unwrap()
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn renders_keeps_the_rest_and_leaves_nothing_behind() {
    let root = fixture();
    let template = root.path().join("data/conf/nginx/nginx.conf.mustache");
    std::fs::set_permissions(&template, PermissionsExt::from_mode(0o640)).unwrap();
    let checked = render(root.path(), &["--check-only"]);
    assert!(checked.status.success(), "{}", message(&checked));
    assert_eq!(read(root.path(), "data/conf/postfix/main.cf"), "old\n");
    assert!(render(root.path(), &[]).status.success());
    assert_eq!(
        read(root.path(), "data/conf/nginx/nginx.conf"),
        "server_name example.org;\n"
    );
    assert_eq!(
        read(root.path(), "data/conf/postfix/main.cf"),
        "myhostname = example.org\n"
    );
    assert_eq!(read(root.path(), "data/conf/keep"), "kept\n");
    assert!(root.path().join("data/conf/link").is_symlink());
    let mode = root
        .path()
        .join("data/conf/nginx/nginx.conf")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(!root.path().join("data/.conf.next").exists());
}

#[test]
fn one_bad_template_changes_nothing_and_is_named() {
    let root = fixture();
    write(
        root.path(),
        "data/conf/dovecot/local.conf.mustache",
        "a\nb = {{domian}}\n",
    );
    let output = render(root.path(), &[]);
    assert!(!output.status.success());
    assert!(
        message(&output).contains("local.conf.mustache, line 2: domian has no value"),
        "{}",
        message(&output)
    );
    assert_eq!(read(root.path(), "data/conf/postfix/main.cf"), "old\n");
    assert!(!root.path().join("data/conf/nginx/nginx.conf").exists());
}

#[test]
fn hostile_settings_are_refused() {
    for domain in ["a;b.org", "$(reboot).org", "a\\nb.org", "", "a,dc=x.org"] {
        let root = fixture();
        write(
            root.path(),
            "data/conf/westwork/settings.toml",
            &SETTINGS.replace("'example.org'", &format!("\"{domain}\"")),
        );
        assert!(!render(root.path(), &[]).status.success(), "{domain}");
        assert_eq!(read(root.path(), "data/conf/postfix/main.cf"), "old\n");
    }
}

#[test]
fn a_checker_sees_the_next_configuration_and_its_refusal_changes_nothing() {
    let root = fixture();
    // Fails, saying what it saw where the configuration will be.
    executable(
        root.path(),
        "usr/sbin/nginx",
        "#!/bin/sh\neval last=\\$$#\necho saw: $(cat \"$last\")\nexit 1\n",
    );
    let output = render(root.path(), &[]);
    assert!(!output.status.success());
    assert!(
        message(&output).contains("nginx refuses its configuration: saw: server_name example.org;"),
        "{}",
        message(&output)
    );
    assert_eq!(read(root.path(), "data/conf/postfix/main.cf"), "old\n");
    assert!(!root.path().join("data/conf/nginx/nginx.conf").exists());
    assert!(!root.path().join("data/.conf.next").exists());
    executable(root.path(), "usr/sbin/nginx", "#!/bin/sh\nexit 0\n");
    let output = render(root.path(), &[]);
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(
        read(root.path(), "data/conf/postfix/main.cf"),
        "myhostname = example.org\n"
    );
}

#[test]
fn killed_at_any_moment_everything_is_old_or_everything_is_new() {
    let root = fixture();
    for number in 0..40 {
        write(
            root.path(),
            &format!("data/conf/many/{number}.conf.mustache"),
            "{{domain}}\n",
        );
    }
    let (mut old, mut new) = (0, 0);
    for round in 0..60_u64 {
        let domain = format!("round{round}.example.org");
        let before = read(root.path(), "data/conf/many/0.conf");
        write(
            root.path(),
            "data/conf/westwork/settings.toml",
            &SETTINGS.replace("example.org", &domain),
        );
        let mut child = Command::new(env!("CARGO_BIN_EXE_westwork"))
            .args(["render", "--root"])
            .arg(root.path())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(round * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        let after = read(root.path(), "data/conf/many/0.conf");
        assert!(after == before || after == format!("{domain}\n"), "{after}");
        for number in 1..40 {
            assert_eq!(
                read(root.path(), &format!("data/conf/many/{number}.conf")),
                after
            );
        }
        assert_eq!(read(root.path(), "data/conf/keep"), "kept\n");
        if after == before { old += 1 } else { new += 1 }
    }
    assert!(old > 0, "no round was killed before its end");
    println!("old {old}, new {new}");
    assert!(render(root.path(), &[]).status.success());
    assert!(!root.path().join("data/.conf.next").exists());
}
