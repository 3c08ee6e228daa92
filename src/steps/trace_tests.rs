use super::*;
use crate::base::command::Command;
use crate::base::tool::Tool;
use crate::sandbox::isolate::REPORT_VAR;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

const FUNCTIONS: &str = include_str!("functions.sh");

/// Stands in for this program: `internal chroot --script -` without a chroot.
const STAND_IN: &str = r#"#!/bin/bash
text=$(mktemp)
if [ -n "$WESTWORK_GEN_REPORT" ]; then
	printf '\1begin\0%s\0\2\0' "$WESTWORK_GEN_AT" >&"$WESTWORK_GEN_REPORT"
	printf %s "$PREFIX" >"$text"
fi
cat >>"$text"
bash -e "$text"
"#;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(script: &str) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.file(
            "common.sh",
            "true\nlater() {\n\ttrue\n}\nls /no/such/file 2> /dev/null\n",
        );
        tree.file("for-chroot", "true\nfalse\n");
        tree.file("stand-in", STAND_IN);
        tree.file("00-run.sh", script);
        tree
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn script(&self) -> PathBuf {
        self.0.path().join("00-run.sh")
    }

    /// Runs the script as a step does, but for the namespaces.
    fn run(&self, trace: Option<&Trace>) -> Output {
        let own = trace.map_or_else(String::new, |trace| {
            let first = self.0.path().join("first.sh");
            fs::write(&first, super::first(trace.report.as_raw_fd())).unwrap();
            format!("BASH_ENV={} ", first.display())
        });
        let start = format!("{FUNCTIONS}\n{own}exec \"$0\"");
        let mut command = Command::new(Tool::Bash)
            .args(["--noprofile", "--norc", "-e", "-c", &start])
            .arg(self.script())
            .dir(self.0.path())
            .set("WESTWORK_GEN", self.0.path().join("stand-in"))
            .set("EXPORT_DIR", "")
            .set("ROOTFS_DIR", "/");
        if let Some(trace) = trace {
            let number = trace.report.as_raw_fd();
            command = command
                .set(REPORT_VAR, trace.report())
                .set("PREFIX", format!("{}; ", traps("chroot-", number)));
        }
        command.output().unwrap()
    }
}

/// Outputs, exit code and place of the failure, which must be the same with and without a trace.
fn traced_run(script: &str) -> (String, Option<String>) {
    let tree = Tree::new(script);
    let plain = tree.run(None);
    let trace = Trace::new().unwrap();
    let used = Some(&trace).filter(|_| !would_notice(script.as_bytes()));
    let traced = tree.run(used);
    assert_eq!(plain.status, traced.status, "{script}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&plain.stdout), text(&traced.stdout), "{script}");
    assert_eq!(text(&plain.stderr), text(&traced.stderr), "{script}");
    let code = plain.status.code().unwrap();
    let place = trace.place(&tree.script(), code).filter(|_| code != 0);
    let dir = format!("{}/", tree.0.path().display());
    (
        text(&plain.stdout),
        place.map(|place| place.replace(&dir, "")),
    )
}

fn place(script: &str) -> String {
    traced_run(&format!("#!/bin/bash -e\n{script}\n"))
        .1
        .unwrap_or_default()
}

#[test]
fn a_command_is_told_with_its_line() {
    assert_eq!(place("true\nfalse"), "00-run.sh:3: false ended with 1");
    assert_eq!(place("true\n\nexit 4"), "00-run.sh:4: exit 4 ended with 4");
    assert_eq!(
        place("x=1\nif true; then\n\tno-such-program \"$x\"\nfi"),
        "00-run.sh:4: no-such-program \"$x\" ended with 127"
    );
    assert_eq!(
        place("for i in 1 2; do\n\ttrue\n\t[ $i = 3 ]\ndone"),
        "00-run.sh:4: [ $i = 3 ] ended with 1"
    );
    assert_eq!(
        place("set -o pipefail\ntrue | false | cat"),
        "00-run.sh:3: true | false | cat ended with 1"
    );
    assert_eq!(
        place("x=$(\n\tfalse\n)"),
        "00-run.sh:4: x=$(false) ended with 1"
    );
    assert_eq!(
        place("set -u\necho \"$nothing\""),
        "00-run.sh:3: echo \"$nothing\" ended with 1"
    );
}

#[test]
fn functions_and_other_files_are_told() {
    let twice = "f() {\n\tfalse\n}\ng() {\n\tf\n\tfalse\n}\ntrue\ng";
    assert_eq!(place(twice), "00-run.sh:6: f: false ended with 1");
    let once = "f() {\n\ttrue\n\tgrep -q x </dev/null\n}\nf";
    assert_eq!(
        place(once),
        "00-run.sh:4: grep -q x < /dev/null ended with 1"
    );
    assert_eq!(
        place("true\n. ./common.sh"),
        "./common.sh:5: ls /no/such/file 2> /dev/null ended with 2"
    );
    assert_eq!(
        place("copy_previous\ntrue\nROOTFS_DIR=/nowhere\ncopy_previous"),
        "00-run.sh:5: copy_previous ended with 1"
    );
}

#[test]
fn a_script_for_the_chroot_is_told_where_it_stands() {
    let heredoc = "true\non_chroot << EOF\necho $HOME\ntrue\nfalse\nEOF\ntrue";
    assert_eq!(place(heredoc), "00-run.sh:6: false ended with 1");
    let function =
        "inside() {\n\ton_chroot <<- 'EOF'\n\t\ttrue\n\t\tgrep -q x /dev/null\n\tEOF\n}\ninside";
    assert_eq!(
        place(function),
        "00-run.sh:5: grep -q x /dev/null ended with 1"
    );
    assert_eq!(
        place("true\non_chroot < for-chroot"),
        "00-run.sh:3: line 2 for the chroot: false ended with 1"
    );
    // One that was put up with says nothing of what failed later.
    assert_eq!(
        place("on_chroot << EOF || true\nfalse\nEOF\nfalse"),
        "00-run.sh:5: false ended with 1"
    );
    let list = "echo 'other arch nothing' > list\nDISTRO=other ARCH=arch install_packages list";
    assert_eq!(
        place(list),
        "00-run.sh:3: install_packages: apt-get install --yes --no-install-recommends \"${names[@]}\" ended with 100"
    );
}

/// Whatever a script does with traps, options and descriptors of its own, it does it as without.
#[test]
fn scripts_do_not_notice() {
    let scripts = [
        // Traps of their own.
        "set -e\ntrap 'echo err $LINENO $BASH_COMMAND' ERR\nf() { false; }\ntrue\nf",
        "set -e\ntrap 'echo err $LINENO' ERR\nfalse",
        "set -e\ntrap 'echo bye $?' EXIT\nfalse",
        "trap 'echo bye $?; exit 7' EXIT\nset -e\nfalse",
        "trap 'echo cleaned' EXIT\ntrap - EXIT\nfalse",
        "set -E\ntrap 'echo err' ERR\nf() { false; }\nf\n(false)\necho $(false)\ntrue",
        "n=0\ntrap 'n=$((n + 1)); echo debug $n $BASH_COMMAND' DEBUG\ntrue\nfalse\necho end",
        "set -T\ntrap 'echo debug $BASH_COMMAND' DEBUG\nf() { true; }\nf\n(true)\nset -e\nfalse",
        "trap 'echo return' RETURN\nf() { return 3; }\nf\necho $?",
        "trap 'echo term' TERM\nkill -TERM $$\necho on",
        // Traces of their own.
        "set -x\ntrue\nfalse\nf() { echo x; }\nf",
        "set -ex\ntrue\nfalse",
        "exec 5>&1\nBASH_XTRACEFD=5\nset -x\ntrue\nfalse || true",
        "set -v\ntrue\nfalse",
        "PS4='+$LINENO '\nset -x\ntrue\nset +x\nfalse",
        // Failures that are put up with.
        "set -e\nfalse || true\nif false; then :; fi\n! true\nwhile false; do :; done\necho on",
        "set +e\nfalse abc\necho \"$_ $?\"\ntrue | false | true\necho \"${PIPESTATUS[@]}\"",
        "set -e\nset +e\nfalse\nset -e\necho on; (exit 3) || echo \"$?\"",
        "set -e\nx=$(false; echo on)\necho \"$x\"",
        "set -e\nset -o pipefail\nfalse | true || echo \"${PIPESTATUS[@]}\"",
        "f() { false; echo on; }\nset -e\nf || true\nif f; then echo yes; fi",
        "set -euo pipefail\nshopt -s inherit_errexit\nx=$(false; echo no) || echo caught",
        // What they may look at.
        "echo \"$-\"\nset -o\nshopt -p\necho \"$SHELLOPTS $BASHOPTS\"",
        "set -e\necho \"$0 $# ${BASH_SOURCE[*]} ${FUNCNAME[*]} $LINENO $SHLVL\"\ncaller || true",
        "echo \"${BASH_ENV-unset}\"; env | grep -c BASH_ENV || true; bash -c 'trap; echo $-'",
        "(trap); x=$(trap -p DEBUG RETURN INT); echo \"[$x]\"",
        "exec 9> out\necho text >&9\nexec 9>&-\ncat out\nread -r line < out; echo \"$line\"",
        // Other ends.
        "exec true",
        "exec false",
        "set -e\nexec > out 2>&1\nfalse",
        "set -e\nexec 1>&- 2>&-\nfalse",
        "set -e\n( set -e; true; exit 5 )\necho no",
        "set -e\n{ false; } 2> /dev/null",
        "set -e\nwait; sleep 0 & wait $!; (exit 6) & wait $!",
        "printf() { echo mine; }\nset -e\nfalse",
        "set -o posix\nset -e\nfalse",
        "set -u\nreadonly BASH_COMMANDS=1\nfalse",
        "IFS=,\nset -e\na=(1 2)\necho \"${a[*]}\"\nfalse",
        "return 3",
        "echo 'unclosed",
        "set -n\nfalse",
    ];
    for shebang in ["#!/bin/bash", "#!/bin/bash -e", "#!/usr/bin/env bash"] {
        for script in scripts {
            traced_run(&format!("{shebang}\n{script}\n"));
        }
    }
}

#[test]
fn only_bash_is_traced() {
    let is = |line: &str| is_for_bash(format!("{line}\ntrue\n").as_bytes());
    for line in [
        "#!/bin/bash -e",
        "#!/bin/bash",
        "#! /usr/bin/bash -x",
        "#!/usr/bin/env bash",
        "#!/usr/bin/env -S bash -e",
    ] {
        assert!(is(line), "{line}");
    }
    for line in [
        "#!/bin/sh -e",
        "#!/usr/bin/python3",
        "#!/usr/bin/env python3",
        "echo bash",
        "",
        "#!/usr/bin/env -S dash bash",
        "#!/opt/rbash",
    ] {
        assert!(!is(line), "{line}");
    }
}

#[test]
fn a_place_is_named_by_its_stage() {
    let path = Path::new("/tree/stage1/01-b/00-run.sh:3: false ended with 1");
    let short = "stage1/01-b/00-run.sh:3: false ended with 1";
    assert_eq!(name(path, Some("/tree/stage1")), short);
    assert_eq!(
        name(path, Some("/other/stage1")),
        path.display().to_string()
    );
    assert_eq!(name(path, None), path.display().to_string());
}

#[test]
fn who_would_notice_is_left_alone() {
    let is = |text: &str| would_notice(text.as_bytes());
    for text in [
        "trap 'x' DEBUG",
        "a\ntrap\nb",
        "x=$(trap)",
        "trap -p EXIT",
        "( trap ) | cat",
        "trap > file",
        "#!/bin/bash -ev",
        "set -xv",
        "set -o verbose",
    ] {
        assert!(is(text), "{text}");
    }
    for text in [
        "trap cleanup EXIT",
        "trap '' INT",
        "echo mousetrap",
        "bootstrap\n",
        "trap - ERR",
        "./trap",
        "set -eu",
        "#!/bin/bash -e",
        "grep -v x",
    ] {
        assert!(!is(text), "{text}");
    }
}
