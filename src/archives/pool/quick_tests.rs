use super::*;
use crate::base::command::Command;
use crate::base::tool::Tool;

const NAME: &str = "tool_1%3a1_all.deb";

/// A cache with a pool in which there is one package, packed by `packer`.
struct Pool {
    dir: tempfile::TempDir,
    index: Index,
    stored: String,
}

impl Pool {
    fn new(packer: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control =
            "Package: tool\nVersion: 1:1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n";
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        fs::write(tree.join("file"), "contents ".repeat(50_000)).unwrap();
        let file = dir.path().join(NAME);
        Command::new(Tool::DpkgDeb)
            .args(["--root-owner-group", packer, "--build"])
            .args([&tree, &file])
            .read()
            .unwrap();
        let sha256 = digest::of_file(&file).unwrap();
        let stored = index::stored(NAME, &sha256);
        let pool = dir.path().join("pool");
        fs::create_dir(&pool).unwrap();
        fs::rename(&file, pool.join(&stored)).unwrap();
        let known = Known::new(NAME, &sha256, &pool.join(&stored), true).unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
        fs::write(
            root.join(dpkg::STATUS),
            format!("{control}Status: install ok installed\n"),
        )
        .unwrap();
        Self {
            dir,
            index: Index::from([(stored.clone(), known)]),
            stored,
        }
    }

    fn pool(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    fn form(&self) -> PathBuf {
        self.pool().join("quick").join(&self.stored)
    }

    fn wanted(&self) -> BTreeMap<String, String> {
        super::super::wanted(&self.index, None)
    }

    /// What a build sees that starts now.
    fn open(&self) -> Quick {
        let quick = Quick::open(self.dir.path(), &self.pool()).unwrap();
        quick.verify(&self.index).unwrap();
        quick.show(&self.wanted()).unwrap();
        quick
    }

    /// A build that has installed the package, until the thread is done with it.
    fn install(&self) {
        let mut quick = self.open();
        let root = self.dir.path().join("root");
        quick.of_installed(&root, || Ok(self.wanted())).unwrap();
        let Some(Maker { wanted, thread, .. }) = quick.maker.take() else {
            return;
        };
        drop(wanted);
        thread.join().unwrap();
    }
}

fn of_package(option: &str, package: &Path) -> String {
    let command = Command::new(Tool::DpkgDeb).arg(option).arg(package);
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}

#[test]
fn a_quick_form_has_what_the_package_has() {
    for packer in ["-Zxz", "-Zgzip", "-Znone", "-Zzstd"] {
        let pool = Pool::new(packer);
        assert!(packages(pool.open().view()).unwrap().is_empty());
        pool.install();
        let quick = pool.open();
        let (form, package) = (quick.view().join(NAME), pool.pool().join(&pool.stored));
        assert_eq!(
            packages(quick.view()).unwrap(),
            BTreeSet::from([NAME.to_owned()])
        );
        for option in ["--fsys-tarfile", "--ctrl-tarfile", "--field"] {
            let said = of_package(option, &form);
            assert!(!said.is_empty(), "{packer} {option}");
            assert_eq!(said, of_package(option, &package), "{packer} {option}");
        }
        let members = fs::read(&form).unwrap();
        let packed = members.windows(12).any(|bytes| bytes == b"data.tar.zst");
        assert!(packed, "{packer}");
    }
}

#[test]
fn what_is_damaged_or_of_no_package_goes() {
    let mut pool = Pool::new("-Zxz");
    pool.install();
    let good = fs::read(pool.form()).unwrap();
    fs::write(pool.form(), "x").unwrap();
    assert!(packages(pool.open().view()).unwrap().is_empty());
    assert!(!pool.form().exists());
    pool.install();
    assert_eq!(fs::read(pool.form()).unwrap(), good);
    // Without what is known of it, it could be anything.
    fs::remove_file(pool.pool().join("quick/pool.json")).unwrap();
    assert!(packages(pool.open().view()).unwrap().is_empty());
    pool.install();
    pool.index.clear();
    pool.open();
    assert!(!pool.form().exists());
}

#[test]
fn nothing_is_made_of_a_damaged_package_and_the_build_goes_on() {
    let pool = Pool::new("-Zxz");
    let package = pool.pool().join(&pool.stored);
    let mut bytes = fs::read(&package).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&package, bytes).unwrap();
    pool.install();
    assert!(files(&pool.pool().join("quick")).unwrap().is_empty());
    // Nor of one that another build has thrown out.
    fs::remove_file(&package).unwrap();
    pool.install();
    assert!(files(&pool.pool().join("quick")).unwrap().is_empty());
}
