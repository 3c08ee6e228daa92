use super::*;
use std::fs;
use std::os::unix::fs::symlink;

fn value(what: &str, text: &str, beside: Beside) -> Value {
    Value {
        what: what.to_owned(),
        text: text.into(),
        beside,
        only_in_etc: what == "example",
    }
}

/// What is found in a tree that `make` has filled, by path and value.
fn found(make: impl FnOnce(&Path)) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("etc")).unwrap();
    fs::create_dir_all(dir.path().join("opt/a")).unwrap();
    make(dir.path());
    let values = vec![
        value("work", "/home/me/tree/work", Beside::Path),
        value("cache", "/home/me/tree/work-cache", Beside::Path),
        value("host", "fv-az1234", Beside::Word),
        value("example", "http://localhost:3142", Beside::Word),
        value("repo", "deb [trusted=yes] http://h/d x main", Beside::Any),
    ];
    let resolver = resolver_lines("# made\nnameserver 192.0.2.1\nsearch lan\n");
    let values = Values::new(values, resolver).unwrap();
    let found = values.find(&Root::open(dir.path()).unwrap()).unwrap();
    let line = |(path, what): &(String, String)| format!("{path}: {what}");
    found.iter().map(line).collect()
}

#[test]
fn values_are_found_in_files_links_and_names() {
    let at = |root: &Path| {
        let write = |path: &str, text: &[u8]| fs::write(root.join(path), text).unwrap();
        write("etc/a", b"x=/home/me/tree/work\n");
        write("etc/proxy", b"\"http://localhost:3142/\"");
        write("opt/binary", b"\0\x01-L/home/me/tree/work/stage0\0");
        write("opt/cache", b"/home/me/tree/work-cache/x");
        write(
            "opt/two",
            b"root@fv-az1234 and deb [trusted=yes] http://h/d x main",
        );
        symlink("/home/me/tree/work/x", root.join("opt/link")).unwrap();
        fs::create_dir_all(root.join("home/me/tree/work/below")).unwrap();
        fs::create_dir(root.join(TOOLS_DIR)).unwrap();
        write("opt/policy", POLICY.as_bytes());
        write("etc/resolv.conf", b"search lan\nnameserver 192.0.2.1\n");
        let file = File::create(root.join("opt/holes")).unwrap();
        file.set_len(1 << 33).unwrap();
        file.write_all_at(b"/home/me/tree/work", 1 << 32).unwrap();
    };
    assert_eq!(
        found(at),
        [
            "/.westwork-gen: the mount point of the build's native programs",
            "/etc/a: work",
            "/etc/proxy: example",
            "/etc/resolv.conf: the build machine's name servers",
            "/home/me/tree/work: work",
            "/opt/binary: work",
            "/opt/cache: cache",
            "/opt/holes: work",
            "/opt/link: work",
            "/opt/policy: the build's policy-rc.d, which forbids all services",
            "/opt/two: host",
            "/opt/two: repo",
        ]
    );
}

#[test]
fn what_is_another_word_is_no_trace() {
    let at = |root: &Path| {
        let write = |path: &str, text: &[u8]| fs::write(root.join(path), text).unwrap();
        write(
            "etc/a",
            b"/home/me/tree/workshop /home/me/tree fv-az12345 xfv-az1234",
        );
        write("etc/resolv.conf", b"nameserver 192.0.2.1\n");
        write("opt/example", b"http://localhost:3142/");
        write("opt/resolver", b"search lan\nnameserver 192.0.2.1\n");
        write("opt/policy", b"#!/bin/sh\nexit 102\n");
        nix::unistd::mkfifo(&root.join("opt/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(root.join("opt").join(TOOLS_DIR)).unwrap();
    };
    assert_eq!(found(at), Vec::<String>::new());
}

#[test]
fn a_value_on_the_border_of_two_pieces_is_found_once_and_whole() {
    let text = b"/home/me/tree/work";
    for shift in 0..=text.len() + 14 {
        let found = found(|root| {
            let mut bytes = vec![b' '; CHUNK - shift];
            bytes.extend_from_slice(text);
            // Another word, whose end is in the next piece.
            bytes.extend_from_slice(b" fv-az1234");
            bytes.extend_from_slice(b"5 ");
            bytes.resize(3 * CHUNK, b' ');
            fs::write(root.join("opt/a/file"), bytes).unwrap();
        });
        assert_eq!(found, ["/opt/a/file: work"], "{shift}");
    }
}

#[test]
fn common_values_are_not_sought() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("var/lib/westwork-images")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    for (path, is) in [
        ("/work", false),
        ("/tmp/build", false),
        ("/a/b/c", false),
        ("/var/lib/westwork-images", false),
        ("/home/me/tree/work", true),
        ("/srv/westwork-builds", true),
    ] {
        assert_eq!(is_distinctive_path(&root, path), is, "{path}");
    }
    for (name, is) in [
        ("localhost", false),
        ("debian", false),
        ("raspberrypi4", false),
        ("web-server", false),
        ("fv-az1234", true),
        ("3f2a9c0b1d2e", true),
    ] {
        assert_eq!(is_distinctive_name(name), is, "{name}");
    }
    for (password, is) in [
        ("raspberry", false),
        ("password1", false),
        ("Correct-horse", true),
        ("hunter2-hunter2", true),
    ] {
        assert_eq!(is_distinctive_password(password), is, "{password}");
    }
    assert_eq!(password_of("http://me:pa:ss@h:1/x"), Some("pa:ss"));
    assert_eq!(password_of("http://h/x@y:z"), None);
    assert!(is_local("http://127.0.0.1:3142") && !is_local("http://192.0.2.1"));
}
