//! What a host script sees of the machine, and where it can write.

use crate::fixture::{Fixture, PROGRAM, cache, wait};
use crate::need::{self, need};
use crate::ordinary::etc;
use crate::secrets::ROOT;
use crate::wall::sentinel;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What would be lost without a word is refused: only the layer and the usual places can be written.
#[test]
fn what_a_host_script_writes_elsewhere_is_refused() {
    let f = Fixture::new("arm64");
    f.config("STAGE_LIST='stage0 mine'");
    f.script("stage0/prerun.sh", ROOT);
    let good = "for dir in /tmp /var/tmp /run /root /mnt /dev/shm; do echo x >$dir/file; done\n";
    f.script("mine/00-a/00-run.sh", &format!("#!/bin/bash -e\n{good}"));
    f.run(&["build", "--emulate"]).good();
    for path in [
        "/file",
        "/etc/file",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/home/file",
        "/var/file",
    ] {
        let script = format!("#!/bin/bash -e\necho x >{path}\n");
        f.script("mine/00-a/01-run.sh", &script);
        let said = f.run(&["build", "--emulate"]).failed();
        said.says("Read-only file system");
        said.says("HOST_PATHS");
    }
}

/// Files of the machine that its tools write anew, as `useradd` and `ldconfig` do, while the
/// build runs.
#[test]
fn a_build_goes_on_while_the_machine_replaces_its_files() {
    need!(need::root());
    let outside = sentinel();
    let named = outside.path().join("file");
    let f = Fixture::new("arm64");
    f.config("STAGE_LIST='stage0 mine'\nBOOT_SIZE=64M\nROOT_MARGIN=16M");
    f.file("mine/EXPORT_IMAGE", "");
    f.config(&format!(
        "export NAMED='{0}'\nHOST_PATHS='{0}'",
        named.display()
    ));
    f.script("stage0/prerun.sh", ROOT);
    f.script(
        "mine/00-a/00-run.sh",
        "#!/bin/bash -e\ntouch \"$DEPLOY_DIR/now\"\nuntil [ -e \"$DEPLOY_DIR/done\" ]; do sleep 0.1; done\n",
    );
    f.script(
        "mine/00-a/01-run.sh",
        "#!/bin/bash -e\nid -un >\"$DEPLOY_DIR/seen\"\ncat \"$NAMED\" /etc/hosts >>\"$DEPLOY_DIR/seen\"\n",
    );
    // The program too, as when a newer one is installed.
    let program = outside.path().join("westwork-gen");
    fs::copy(PROGRAM, &program).unwrap();
    let build = Command::new(&program)
        .args(["build", "--emulate"])
        .current_dir(&f.root)
        .env("CACHE_DIR", cache())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deploy = f.root.join("deploy");
    assert!(wait(Duration::from_secs(60), || deploy
        .join("now")
        .exists()));
    let _etc = etc();
    for path in [
        "/etc/passwd",
        "/etc/hosts",
        "/etc/ld.so.cache",
        named.to_str().unwrap(),
        program.to_str().unwrap(),
    ] {
        let anew = format!("{path}.westwork-test");
        let made = Command::new("cp").args(["-p", path, &anew]).status();
        assert!(made.unwrap().success());
        fs::rename(&anew, path).unwrap();
    }
    fs::write(deploy.join("done"), "").unwrap();
    let output = build.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(f.read("deploy/seen").starts_with("root\nprecious\n"));
}
