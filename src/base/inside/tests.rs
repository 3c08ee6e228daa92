use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

/// A tree in `root/`, and beside it a directory that nobody may touch.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        fs::create_dir_all(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/file"), "outside").unwrap();
        Self { dir }
    }

    fn root(&self) -> Root {
        Root::open(&self.dir.path().join("root")).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn file(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.dir.path().join("outside").join(path)
    }
}

#[test]
fn links_lead_to_what_the_image_would_find() {
    let f = Fixture::new();
    f.file("data/log/a", "inside");
    // The same names exist on the machine: `/data` of the image is not that of the machine.
    symlink("/data", f.path("absolute")).unwrap();
    symlink("../../../../../data/log/a", f.path("etc/upwards")).unwrap();
    symlink(f.outside("file"), f.path("etc/machine")).unwrap();
    symlink("../../outside", f.path("out")).unwrap();
    symlink("circle", f.path("circle")).unwrap();
    let root = f.root();
    let read = |path: &str| root.read_text(path, 100).unwrap();
    assert_eq!(read("absolute/log/a").as_deref(), Some("inside"));
    assert_eq!(read("/etc/upwards").as_deref(), Some("inside"));
    assert_eq!(read("etc/machine"), None);
    assert_eq!(read("out/file"), None);
    assert_eq!(root.entries("out").unwrap(), []);
    assert_eq!(root.entries("absolute/log").unwrap()[0].name, "a");
    assert_eq!(root.read("circle", 1).unwrap(), None);
    assert!(Root::open(&f.path("absolute")).is_err());
}

#[test]
fn what_is_no_file_is_not_opened_and_what_is_long_is_not_read() {
    let f = Fixture::new();
    nix::unistd::mkfifo(&f.path("fifo"), Mode::S_IRWXU).unwrap();
    fs::File::create(f.path("huge"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let (done, waiting) = std::sync::mpsc::channel();
    let root = f.root();
    let thread = std::thread::spawn(move || {
        for path in ["fifo", "etc"] {
            let error = root.read(path, 10).unwrap_err().to_string();
            assert!(error.contains("is not a file"), "{error}");
        }
        let fifo = std::ffi::OsStr::new("fifo");
        assert!(root.top().file(fifo).is_err());
        root.rewrite("fifo", 10, |_| Ok(b"x".to_vec())).unwrap();
        let error = root.read("huge", 4096).unwrap_err().to_string();
        assert!(error.contains("more than 4 KiB"), "{error}");
        done.send(()).unwrap();
    });
    waiting
        .recv_timeout(Duration::from_secs(20))
        .expect("a FIFO was waited for, or the thread failed");
    thread.join().unwrap();
}

#[test]
fn what_is_written_and_removed_is_inside() {
    let f = Fixture::new();
    f.file("data/etc/b", "old");
    symlink("/data/etc/b", f.path("etc/b")).unwrap();
    symlink(f.outside("file"), f.path("etc/machine")).unwrap();
    symlink(f.outside("made"), f.path("etc/new")).unwrap();
    let root = f.root();
    for path in ["etc/b", "etc/machine", "etc/missing", "no/where"] {
        root.rewrite(path, 100, |_| Ok(b"new".to_vec())).unwrap();
    }
    assert_eq!(fs::read_to_string(f.path("data/etc/b")).unwrap(), "new");
    assert!(f.path("etc/b").is_symlink());
    root.create("etc/new", b"text", 0o750).unwrap();
    let made = f.path("etc/new").symlink_metadata().unwrap();
    assert_eq!((made.is_file(), made.mode() & 0o7777), (true, 0o750));
    for path in ["etc/b", "etc/machine", "etc/none", "none/x"] {
        root.remove(path).unwrap();
    }
    assert!(root.remove("data").is_err());
    assert_eq!(root.entries("etc").unwrap().len(), 1);
    assert_eq!(fs::read_to_string(f.outside("file")).unwrap(), "outside");
    assert!(!f.outside("made").exists());
}

#[test]
fn a_hard_link_to_the_outside_is_cut_and_one_within_stays() {
    let f = Fixture::new();
    fs::hard_link(f.outside("file"), f.path("etc/a")).unwrap();
    fs::set_permissions(f.path("etc/a"), fs::Permissions::from_mode(0o640)).unwrap();
    f.file("etc/b", "b");
    fs::hard_link(f.path("etc/b"), f.path("c")).unwrap();
    let root = f.root();
    root.rewrite("etc/a", 100, |old| Ok([old, b"!"].concat()))
        .unwrap();
    root.rewrite("etc/b", 100, |old| Ok([old, b"!"].concat()))
        .unwrap();
    assert_eq!(fs::read_to_string(f.path("etc/a")).unwrap(), "outside!");
    assert_eq!(f.path("etc/a").metadata().unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::read_to_string(f.path("c")).unwrap(), "b!");
    assert_eq!(fs::read_to_string(f.outside("file")).unwrap(), "outside");
    let names: Vec<_> = root.entries("etc").unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn places_are_made_without_following_links() {
    let f = Fixture::new();
    symlink(f.dir.path().join("outside"), f.path("srv")).unwrap();
    symlink(f.outside("made"), f.path("etc/made")).unwrap();
    let root = f.root();
    root.make_directory("a/b/c").unwrap();
    let place = root.make_file("a/b/d/e").unwrap();
    assert!(fs::metadata(seen_here(&place)).unwrap().is_file());
    root.make_file("a/b/d/e").unwrap();
    let error = root.make_directory("srv/x").unwrap_err().to_string();
    assert!(error.starts_with("/srv is a link to /"), "{error}");
    assert!(root.make_file("etc/made").is_err());
    assert!(root.make_file("srv/file").is_err());
    assert!(root.make_directory("a/b/d/e").is_err());
    assert!(!f.outside("made").exists() && !f.outside("x").exists());
    assert_eq!(root.kind("a/b/d/e").unwrap(), Some(Kind::File));
    assert_eq!(root.kind("srv").unwrap(), None);
}

#[test]
fn emptying_follows_no_link_and_reaches_everything() {
    let f = Fixture::new();
    f.file("var/log/apt/x", "x");
    let deep = format!("var/log/{}/y", ["d"; 1500].join("/"));
    fs::create_dir_all(f.path(&deep)).unwrap();
    symlink(f.dir.path().join("outside"), f.path("var/log/out")).unwrap();
    nix::unistd::mkfifo(&f.path("var/log/fifo"), Mode::S_IRWXU).unwrap();
    let root = f.root();
    let log = root.directory("var/log").unwrap().unwrap();
    log.empty(true).unwrap();
    assert_eq!(root.entries("var/log").unwrap().len(), 2);
    assert_eq!(root.entries("var/log/apt").unwrap().len(), 0);
    log.empty(false).unwrap();
    assert_eq!(root.entries("var/log").unwrap().len(), 0);
    assert_eq!(fs::read_to_string(f.outside("file")).unwrap(), "outside");
}

#[test]
fn programs_get_the_directory_whatever_its_name_leads_to() {
    let f = Fixture::new();
    f.file("data/a", "a");
    let root = f.root();
    let data = root.directory("data").unwrap().unwrap();
    let lent = data.lend().unwrap();
    fs::rename(f.path("data"), f.path("moved")).unwrap();
    symlink(f.dir.path().join("outside"), f.path("data")).unwrap();
    let list = std::process::Command::new("ls").arg(lent.path()).output();
    assert_eq!(list.unwrap().stdout, b"a\n");
}
