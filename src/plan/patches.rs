//! A step of patches: a quilt series, before quilt sees it.

use super::discover::unreadable;
use crate::base::problem::Problem;
use std::fs;
use std::path::Path;

/// Judges the series in `dir`: every patch that it names must be there, and reach the image.
pub(super) fn check(dir: &Path, problems: &mut Vec<Problem>) {
    let series = dir.join("series");
    let text = match fs::read_to_string(&series) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what = "the patches have no file `series`, so none would be applied";
            problems.push(Problem::new(what, "list the patches in it, one a line").at(dir));
            return;
        }
        Err(error) => {
            problems.push(unreadable(&series, &error));
            return;
        }
    };
    for (index, line) in text.lines().enumerate() {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let Some(patch) = words.next() else {
            continue;
        };
        let file = dir.join(patch);
        if !file.is_file() {
            let what = format!("there is no patch {patch}");
            let remedy = "add the file, or take the line out";
            problems.push(Problem::new(what, remedy).at(&series).line(index + 1));
            continue;
        }
        let strip = words
            .filter_map(|word| word.strip_prefix("-p")?.parse().ok())
            .next_back();
        let bytes = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        if let Some((line, path)) = misses_the_image(&text, strip.unwrap_or(1)) {
            let what = format!(
                "the patch changes {path}, and nothing below rootfs/, so it does not reach the image"
            );
            let inside = path.trim_start_matches('/');
            let inside = inside.split_once('/').map_or(inside, |(_, rest)| rest);
            let remedy = format!("write rootfs/ before the path, such as b/rootfs/{inside}");
            problems.push(Problem::new(what, remedy).at(&file).line(line));
        }
    }
}

/// The first path of a patch, and its line, if no path of it leads below `rootfs` once `strip`
/// directories are taken off. quilt works beside it.
fn misses_the_image(patch: &str, strip: usize) -> Option<(usize, &str)> {
    let mut first = None;
    for (number, line) in (1..).zip(patch.lines()) {
        let Some(path) = path_of(line) else {
            continue;
        };
        // What a name of git has no directory for.
        let is_whole = !line.starts_with("+++") && !line.starts_with("---");
        let mut parts = path.split('/').filter(|part| *part != ".");
        let inside = parts.nth(if is_whole { 0 } else { strip });
        if inside == Some("rootfs") {
            return None;
        }
        first = first.or(Some((number, path)));
    }
    first
}

/// The path that a line of a patch's headers names.
fn path_of(line: &str) -> Option<&str> {
    let rest = ["+++ ", "--- ", "rename to ", "copy to "]
        .iter()
        .find_map(|start| line.strip_prefix(start))?;
    // diff adds the time after a tab.
    let path = rest.split('\t').next()?.trim().trim_matches('"');
    (!path.is_empty() && path != "/dev/null").then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_beside_the_image_is_found() {
        for (patch, strip, path) in [
            (
                "--- /dev/null\n+++ /etc/demo.conf\n@@ -0,0 +1 @@\n+x\n",
                1,
                "/etc/demo.conf",
            ),
            ("--- a/etc/x\t2026\n+++ b/etc/x\t2026\n", 1, "a/etc/x"),
            ("--- etc/x\n+++ etc/x\n", 0, "etc/x"),
            (
                "--- a/rootfs/etc/x\n+++ b/rootfs/etc/x\n",
                2,
                "a/rootfs/etc/x",
            ),
            ("--- rootfs/etc/x\n+++ rootfs/etc/x\n", 1, "rootfs/etc/x"),
        ] {
            let found = misses_the_image(patch, strip);
            assert_eq!(found.map(|(_, found)| found), Some(path), "{patch}");
        }
    }

    #[test]
    fn patches_of_the_image_are_left_alone() {
        for (patch, strip) in [
            ("--- a/rootfs/etc/x\n+++ b/rootfs/etc/x\n", 1),
            ("--- stage2.orig/rootfs/etc/x\n+++ stage2/rootfs/etc/x\n", 1),
            ("--- rootfs/etc/x\n+++ rootfs/etc/x\n", 0),
            ("--- a/rootfs/etc/x\n+++ /dev/null\n", 1),
            ("rename from rootfs/etc/x\nrename to rootfs/etc/y\n", 1),
            // One file of several.
            (
                "--- a/notes\n+++ b/notes\n--- a/rootfs/etc/x\n+++ b/rootfs/etc/x\n",
                1,
            ),
            // Nothing in it, or packed.
            ("", 1),
            ("\u{fffd}(\u{fffd}/\u{fffd}", 1),
        ] {
            assert_eq!(misses_the_image(patch, strip), None, "{patch}");
        }
    }

    #[test]
    fn the_remedy_has_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let patch = "--- a/etc/x\n+++ b/etc/x\n@@ -1 +1 @@\n-a\n+b\n";
        fs::write(dir.path().join("x.diff"), patch).unwrap();
        fs::write(dir.path().join("series"), "# mine\nx.diff -p1 # first\n").unwrap();
        let mut problems = Vec::new();
        check(dir.path(), &mut problems);
        let said = problems[0].to_string();
        assert!(
            said.contains("x.diff:1: the patch changes a/etc/x"),
            "{said}"
        );
        assert!(said.contains("such as b/rootfs/etc/x"), "{said}");
    }
}
