//! More steps than the kernel takes names of layers in one page.

use crate::fixture::Fixture;
use std::time::Instant;

/// Steps, half of which run in the image.
const STEPS: usize = 300;

#[test]
fn a_tree_of_300_steps_is_built_and_the_last_ones_cost_what_the_first_ones_do() {
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
    // Every step again, but the first one.
    let build = |from: usize, to: usize| {
        let path = format!("stage0/{from:03}/00-run.sh");
        tree.script(&path, &(tree.read(&path) + "# again\n"));
        let begun = Instant::now();
        tree.run(&["build"]).good();
        begun.elapsed().as_secs_f64() / to as f64
    };
    let (all, late) = (build(0, STEPS), build(last - 30, 60));
    println!("  {all:.3} s a step, {late:.3} s one of the last 60");
    assert!(late < 2.0 * all + 0.02, "{all:.3} {late:.3}");
    let said = tree.run(&["build"]).good();
    assert_eq!(
        said.text.matches("cached").count(),
        STEPS + 2,
        "{}",
        said.text
    );
}
