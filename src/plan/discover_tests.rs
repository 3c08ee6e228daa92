//! Trees in temporary directories.

use crate::base::problem::Problem;
use crate::plan::Plan;
use crate::plan::fixture::{config, tree};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

fn discover(root: &Path, stages: &[&str]) -> (Plan, Vec<Problem>) {
    Plan::discover(&config(root, stages))
}

fn relative(root: &Path, problems: &[Problem]) -> Vec<(PathBuf, String)> {
    let place = |problem: &Problem| {
        problem
            .path
            .as_ref()
            .unwrap()
            .strip_prefix(root)
            .unwrap()
            .to_owned()
    };
    problems
        .iter()
        .map(|problem| (place(problem), problem.remedy.clone()))
        .collect()
}

fn suffix_of(text: &str) -> Result<String, Problem> {
    let dir = tree(&[("s/EXPORT_IMAGE", text)]);
    let (mut plan, mut problems) = discover(dir.path(), &["s"]);
    match problems.pop() {
        Some(problem) => Err(problem),
        None => Ok(plan.stages.remove(0).export.unwrap().suffix),
    }
}

/// The plan as an indented list.
fn text_of(plan: &Plan) -> String {
    let mut text = String::new();
    for stage in &plan.stages {
        let skip = match (stage.skip, stage.kept) {
            (true, _) => " (SKIP)",
            (_, true) => " (kept)",
            _ => "",
        };
        text += &format!("{}{skip}\n", stage.name);
        if stage.prerun.is_some() {
            text += "  prerun.sh\n";
        }
        for sub in &stage.sub_stages {
            text += &format!("  {}\n", sub.name);
            for step in &sub.steps {
                let name = step.path.file_name().unwrap().to_string_lossy();
                text += &format!("    {name}\n");
            }
        }
        if let Some(export) = stage.export.as_ref().filter(|_| !stage.skip) {
            text += &format!("  -> image {:?}\n", export.suffix);
        }
    }
    text
}

#[test]
fn shows_everything_in_the_order_in_which_it_runs() {
    let dir = tree(&[
        ("stage0/prerun.sh", "#!/bin/bash"),
        ("stage0/README", ""),
        ("stage0/01-b/01-packages", "vim"),
        ("stage0/01-b/00-run-chroot.sh", ""),
        ("stage0/01-b/00-run.sh", "#!/bin/bash"),
        (
            "stage0/01-b/00-patches/series",
            "# none\na.diff -p1 # one\n",
        ),
        ("stage0/01-b/00-patches/a.diff", ""),
        ("stage0/01-b/00-packages", ""),
        ("stage0/01-b/00-packages-ni", ""),
        ("stage0/01-b/00-packages-nr", ""),
        ("stage0/01-b/00-debconf", ""),
        ("stage0/01-b/files/0-data", ""),
        ("stage0/00-a/00-run-chroot", ""),
        ("stage0/02-c/SKIP", ""),
        ("stage0/02-c/0-packages", ""),
        ("stage0/.hidden/00-packages", ""),
        ("stage1/SKIP", ""),
        ("stage1/a/00-packages", ""),
        ("stage1/a/00-run.sh", "not executable"),
        ("stage2/EXPORT_IMAGE", "-lite\n"),
        ("stage3/EXPORT_IMAGE", ""),
        ("stage3/SKIP_IMAGES", ""),
        ("stage3/EXPORT_NOOBS", ""),
        ("stage4/SKIP", ""),
        ("stage4/a/00-packages", ""),
        ("stage4/EXPORT_IMAGE", "-lite\n"),
    ]);
    let stages = ["stage0", "stage1", "stage2", "stage3", "stage4"];
    let (plan, problems) = discover(dir.path(), &stages);
    assert_eq!(problems, []);
    let shown = "stage0\n  prerun.sh\n  00-a\n    00-run-chroot\n  01-b\n    00-debconf\n    00-packages-nr\n    \
                 00-packages-ni\n    00-packages\n    00-patches\n    00-run.sh\n    00-run-chroot.sh\n    01-packages\n\
                 stage1 (kept)\n  a\n    00-packages\n    00-run.sh\n\
                 stage2\n  -> image \"-lite\"\nstage3\nstage4 (SKIP)\n";
    assert_eq!(text_of(&plan), shown);
    assert!(plan.has_patches());
    let names: Vec<_> = plan.steps().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names[..3],
        [
            "stage0/prerun.sh",
            "stage0/00-a/00-run-chroot",
            "stage0/01-b/00-debconf"
        ]
    );
}

#[test]
fn reports_every_mistake_with_its_remedy() {
    let dir = tree(&[
        ("s/prerun.sh", ""),
        ("s/a/0-packages", ""),
        ("s/a/00-pakages", ""),
        ("s/a/00-run.sh", ""),
        ("s/a/01-run-chroot", ""),
        ("s/a/01-run-chroot.sh", ""),
        ("s/b/00-patches/x.diff", ""),
        ("s/b/01-patches/series", "\n# y.diff\nx.diff\n"),
        ("s/b/02-packages/x", ""),
        ("s/b/03-patches", ""),
    ]);
    symlink("nowhere", dir.path().join("s/b/04-debconf")).unwrap();
    let (_, problems) = discover(dir.path(), &["s", "t"]);
    let found = relative(dir.path(), &problems);
    let chmod = |path: &str| format!("chmod +x {}", dir.path().join(path).display());
    let expected = [
        ("s/prerun.sh", chmod("s/prerun.sh")),
        ("s/a/0-packages", "rename it to 00-packages".into()),
        ("s/a/00-pakages", "rename it to 00-packages".into()),
        ("s/a/00-run.sh", chmod("s/a/00-run.sh")),
        (
            "s/a/01-run-chroot.sh",
            "delete one of them, or give it another number".into(),
        ),
        (
            "s/b/00-patches",
            "list the patches in it, one a line".into(),
        ),
        (
            "s/b/01-patches/series",
            "add the file, or take the line out".into(),
        ),
        (
            "s/b/02-packages",
            "rename the directory so that it does not begin with a number".into(),
        ),
        (
            "s/b/03-patches",
            "make it a directory with the patches and a file `series`".into(),
        ),
        ("s/b/04-debconf", "correct the link or delete it".into()),
        ("t", "make it, or correct STAGE_LIST".into()),
    ];
    assert_eq!(
        found,
        expected.map(|(path, remedy)| (PathBuf::from(path), remedy))
    );
    assert_eq!(problems[6].line, Some(3));
}

#[test]
fn stages_of_the_same_name_would_share_a_directory() {
    let dir = tree(&[("a/s/x/00-packages", ""), ("b/s/x/00-packages", "")]);
    let (_, problems) = discover(dir.path(), &["a/s", "b/s"]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.contains("has the same name"));
}

#[test]
fn reads_the_suffix_in_both_forms() {
    assert_eq!(suffix_of("").unwrap(), "");
    assert_eq!(suffix_of("-lite\n").unwrap(), "-lite");
    assert_eq!(
        suffix_of("IMG_SUFFIX=\"-lite\"\necho noise\n").unwrap(),
        "-lite"
    );
    let tests = "IMG_SUFFIX=\"-$FLAVOUR\"\nif [ \"${ARCH}\" = arm64 ]; then\nexport IMG_SUFFIX=\"${IMG_SUFFIX}-64\"\nfi\n";
    assert_eq!(suffix_of(tests).unwrap(), "-plain-64");
    assert_eq!(
        suffix_of("IMG_SUFFIX=-x\n[ \"${USE_QEMU}\" = 1 ] && IMG_SUFFIX=-qemu\n").unwrap(),
        "-x"
    );
}

#[test]
fn a_broken_suffix_is_a_problem() {
    assert!(
        suffix_of("IMG_SUFFIX=\"-lite\n")
            .unwrap_err()
            .what
            .contains("bash cannot read it")
    );
    assert!(
        suffix_of("IMG_SUFFIX=a/b\n")
            .unwrap_err()
            .what
            .contains("cannot be part of a file name")
    );
    assert!(suffix_of("two words\n").is_err());
}

#[test]
fn images_of_the_same_suffix_would_overwrite_each_other() {
    let dir = tree(&[
        ("a/EXPORT_IMAGE", "-x"),
        ("b/EXPORT_IMAGE", "IMG_SUFFIX=-x"),
    ]);
    let (_, problems) = discover(dir.path(), &["a", "b"]);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].what.contains("too, makes an image"),
        "{}",
        problems[0]
    );
}
