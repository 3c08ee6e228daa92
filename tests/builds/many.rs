//! More steps than the kernel takes names of layers in one page.

use crate::fixture::Fixture;

/// Steps, half of which run in the image.
const STEPS: usize = 240;

#[test]
fn each_of_240_steps_stands_on_all_before_it() {
    let tree = Fixture::with_base("arm64");
    for step in 0..STEPS / 2 {
        let script = format!(
            "#!/bin/bash -e\ncd \"$ROOTFS_DIR/srv\"\necho {step} >file-{step}\n\
             rm -f \"file-$(({step} - 1))\"\n"
        );
        tree.script(&format!("stage0/{step:03}/00-run.sh"), &script);
        tree.script(&format!("stage0/{step:03}/01-run-chroot.sh"), ":\n");
    }
    let last = STEPS / 2 - 1;
    tree.script(
        &format!("stage0/{last:03}/02-run-chroot.sh"),
        &format!("test \"$(ls /srv)\" = file-{last}\ntest \"$(cat /srv/*)\" = {last}\n"),
    );
    tree.run(&["build"]).good();
    tree.run(&["build"]).good().says("nothing has changed");
}
