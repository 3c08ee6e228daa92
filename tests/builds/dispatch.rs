//! Programs behave alike natively and emulated, in every way of being started.

use crate::common::{Tree, both, target};
use std::fs;
use std::process::Stdio;

/// Prints one line for each way of starting a program. Each line is the same whether the
/// program runs natively or emulated, and most have only one right answer (see [`ANSWERS`]).
const WAYS: &str = r##"
mkdir -p /root/ways && cd /root/ways
say() { printf '%s: %s\n' "$1" "$2" >> /root/report; }

printf '#!/bin/sh -e\necho "$0|$#|$1|$-"\n' > script && chmod +x script
say 'script' "$(./script 'a b')"
say 'script by PATH' "$(PATH=$PWD:$PATH script x)"
printf '#!/usr/bin/env -S bash -u\necho "$BASH_VERSINFO $-"\n' > env-script && chmod +x env-script
say 'env script' "$(./env-script)"
cp script inner && printf '#!./inner\n' > nested && chmod +x nested
say 'nested script' "$(./nested y 2>&1)"
printf '#!/nowhere/sh\n' > no-interpreter && chmod +x no-interpreter
say 'missing interpreter' "$(./no-interpreter 2> /dev/null; echo $?)"
printf 'echo no header\n' > plain && chmod +x plain
say 'no header' "$(./plain)"
say 'not executable' "$(cp /bin/sh dull; chmod -x dull; ./dull 2> /dev/null; echo $?)"
say 'missing' "$(/bin/nothing-like-this 2> /dev/null; echo $?)"
say 'a directory' "$(/usr 2> /dev/null; echo $?)"

say 'relative path' "$(cd /usr && ./bin/printf '%s' x)"
say 'upward path' "$(cd /usr/lib && ../bin/sed --version | head -n 1)"
ln -s /usr/bin/sed link && ln -s link link-to-link
say 'links' "$(echo abc | ./link-to-link s/b/x/)"
say 'alternatives' "$(echo 'a b' | awk '{ print $2 }')"
say 'argv0 of a native one' "$(bash -c 'exec -a zorro /bin/sh -c "echo \$0"')"
say 'argv0 of an emulated one' "$(bash -c 'exec -a zorro /usr/bin/uname --nonsense' 2>&1 | head -n 1)"
say 'name decides' "$(printf data | xz | xzcat)"
say 'restricted by name' "$(ln -s /bin/bash rbash; ./rbash -c 'cd /' 2>&1 | sed 's/.*line/line/')"
say 'empty argument' "$(sh -c 'echo $#' x '' '' last)"
say 'bytes' "$(printf '%s' $'\xff\xfe' | od -An -tx1)"
say 'argument bytes' "$(bash -c 'printf "%s" "$1" | od -An -tx1' x $'\xff\xfe')"

say 'environment' "$(env -i 'A B=1 2' C= PATH=/usr/bin env | LC_ALL=C sort | tr '\n' ';')"
say 'unset path' "$(env -i /usr/bin/env)"
say 'descriptor out' "$(sh -c 'echo seven >&7' 7> seven; cat seven)"
say 'descriptor in' "$(sh -c 'cat <&5' 5< seven)"
say 'closed input' "$(cat <&- > /dev/null 2>&1; echo $?)"
say 'descriptors left open' "$(ls -l /proc/self/fd | wc -l)"
say 'working directory' "$(env -C /var pwd)"
say 'umask' "$(umask 027; rm -f masked; touch masked; stat -c %a masked)"

say 'exit code' "$(sh -c 'exit 37'; echo $?)"
say 'emulated exit code' "$(/usr/bin/uname --nonsense 2> /dev/null; echo $?)"
say 'signal' "$(sh -c 'kill -TERM $$'; echo $?)"
say 'emulated signal' "$(timeout -s KILL 1 /root/ways/sleeper 2> /dev/null; echo $?)"
say 'broken pipe' "$(yes | head -n 1 > /dev/null; echo "${PIPESTATUS[@]}")"
say 'ignored signal' "$(trap '' USR1; sh -c 'kill -USR1 $$; echo alive')"

set -- $(seq 100000)
say 'many arguments' "$(sh -c 'echo $#' x "$@")"
say 'long argument' "$(sh -c 'echo ${#1}' x "$(head -c 131000 /dev/zero | tr '\0' a)")"
say 'too long' "$(sh -c 'echo ${#1}' x "$(head -c 140000 /dev/zero | tr '\0' a)" 2> /dev/null; echo $?)"
say 'emulated many arguments' "$(/usr/bin/nproc --version "$@" | head -n 1)"
set --

useradd -M anna
cp /usr/bin/id set-id && chmod 4755 set-id && cp /usr/bin/id set-gid && chgrp mail set-gid && chmod 2755 set-gid
chmod 711 /root
say 'set-user-id' "$(setpriv --reuid anna --regid anna --clear-groups ./set-id -un)"
say 'set-group-id' "$(setpriv --reuid anna --regid anna --clear-groups ./set-gid -gn)"
say 'another user' "$(setpriv --reuid anna --regid anna --clear-groups id -un)"
say 'no set-id' "$(setpriv --reuid anna --regid anna --clear-groups cat /etc/shadow 2> /dev/null; echo $?)"
say 'passwd' "$(setpriv --reuid anna --regid anna --clear-groups passwd -S anna | cut -d' ' -f1,2)"
chmod 700 /root

say 'machine' "$(uname -m)"
say 'dpkg' "$(dpkg --print-architecture)"
say 'apt' "$(apt-config dump APT::Architecture)"
say 'file' "$(file -bL /bin/sh | cut -d, -f1,2)"
say 'copy' "$(cp /bin/sh copy; cmp /bin/sh copy && sha256sum < copy | cmp - <(sha256sum < /bin/dash) && echo same)"
say 'library' "$(ldd /bin/sh | grep -c ld-linux)"
dbus-daemon --session --address=unix:path=/tmp/bus --fork --print-pid > pid
say 'service' "$(file -bL "/proc/$(cat pid)/root/usr/bin/dbus-daemon" | cut -d, -f2)"
say 'service answers' "$(DBUS_SESSION_BUS_ADDRESS=unix:path=/tmp/bus dbus-send --session --print-reply=literal --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetNameOwner string:org.freedesktop.DBus | tr -d ' ')"
kill "$(cat pid)"
"##;

/// qemu-user opens the program before it runs it, and gets the closed descriptor for it.
const NOT_EMULATED: &str = "closed input: ";

/// What has one right answer.
const ANSWERS: &[(&str, &str)] = &[
    ("script", "./script|1|a b|e"),
    ("missing", "127"),
    ("not executable", "126"),
    ("links", "axc"),
    ("alternatives", "b"),
    ("argv0 of a native one", "zorro"),
    ("name decides", "data"),
    ("descriptor out", "seven"),
    ("descriptor in", "seven"),
    ("closed input", "1"),
    ("exit code", "37"),
    ("signal", "143"),
    ("emulated signal", "137"),
    ("broken pipe", "141 0"),
    ("ignored signal", "alive"),
    ("many arguments", "100000"),
    ("long argument", "131000"),
    ("set-user-id", "root"),
    ("set-group-id", "mail"),
    ("another user", "anna"),
    ("no set-id", "1"),
    ("passwd", "anna L"),
    ("copy", "same"),
    ("service answers", "org.freedesktop.DBus"),
];

fn tree(arch: &str) -> Tree {
    let tree = Tree::new(arch).with_bootstrap();
    tree.file(
        "stages/stage0/00-ways/00-packages-nr",
        "file dbus-daemon dbus-bin xz-utils libc-bin\n",
    );
    // A program that no list knows, to be killed while it is emulated.
    tree.file(
        "stages/stage0/00-ways/01-run-chroot.sh",
        &format!("mkdir -p /root/ways && cp /usr/bin/sleep /root/ways/sleeper.real && printf '#!/bin/sh\\nexec /root/ways/sleeper.real 60\\n' > /root/ways/sleeper && chmod +x /root/ways/sleeper\n{WAYS}"),
    );
    tree.script(
        "stages/stage0/00-ways/02-run.sh",
        "cp \"${ROOTFS_DIR}/root/report\" \"${REPORT}\"",
    );
    tree
}

/// The report of a build in `mode`.
fn report(tree: &Tree, arch: &str, mode: &str) -> Vec<String> {
    let path = tree.dir.join(format!("deploy/report-{mode}"));
    tree.file(
        "config",
        &format!(
            "IMG_NAME=Test\n{}export REPORT='{}'\n",
            target(arch),
            path.display()
        ),
    );
    let work = format!(
        "WORK_DIR={}",
        tree.dir.join(format!("work/{mode}")).display()
    );
    let mut args = vec!["--set", &work];
    if mode == "emulated" {
        args.push("--emulate");
    }
    tree.build(&args);
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    text.lines().map(str::to_owned).collect()
}

/// Starts programs in every way, natively, and returns the tree and what came of it.
fn native(arch: &str, names: &[(&str, &str)]) -> (Tree, Vec<String>) {
    let tree = tree(arch);
    let native = report(&tree, arch, "native");
    for (name, answer) in ANSWERS.iter().chain(names) {
        let line = format!("{name}: {answer}");
        assert!(
            native.contains(&line),
            "no {line:?} in\n{}",
            native.join("\n")
        );
    }
    (tree, native)
}

#[test]
fn every_way_of_starting_a_program_on_arm64() {
    let file = "ELF 64-bit LSB pie executable, ARM aarch64";
    let (tree, native) = native(
        "arm64",
        &[
            ("machine", "aarch64"),
            ("dpkg", "arm64"),
            ("apt", "APT::Architecture \"arm64\";"),
            ("file", file),
            ("service", " ARM aarch64"),
        ],
    );
    let emulated = report(&tree, "arm64", "emulated");
    let without = |lines: Vec<String>| -> Vec<String> {
        let like = lines.into_iter();
        like.filter(|line| !line.starts_with(NOT_EMULATED))
            .collect()
    };
    assert_eq!(without(native), without(emulated));
}

#[test]
fn every_way_of_starting_a_program_on_armhf() {
    let file = "ELF 32-bit LSB pie executable, ARM";
    native(
        "armhf",
        &[
            ("machine", "armv7l"),
            ("dpkg", "armhf"),
            ("apt", "APT::Architecture \"armhf\";"),
            ("file", file),
            ("service", " ARM"),
        ],
    );
}

#[test]
fn two_architectures_at_once() {
    let trees: Vec<(&str, &str, Tree)> = [("arm64", "aarch64"), ("armhf", "armv7l")]
        .into_iter()
        .map(|(arch, machine)| {
            let tree = Tree::new(arch).with_bootstrap();
            tree.file(
                "stages/stage0/00-look/00-run-chroot.sh",
                "for i in $(seq 20); do uname -m; dpkg --print-architecture; done | sort -u > /etc/seen\n",
            );
            tree.script(
                "stages/stage0/00-look/01-run.sh",
                "cp \"${ROOTFS_DIR}/etc/seen\" \"${DEPLOY_DIR}/seen\"",
            );
            (arch, machine, tree)
        })
        .collect();
    let running: Vec<_> = trees
        .iter()
        .map(|(.., tree)| {
            let mut command = tree.command(&["build"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for (child, (arch, machine, tree)) in running.into_iter().zip(&trees) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arch}:\n{}", both(&output));
        let mut expected = [*arch, *machine];
        expected.sort_unstable();
        let seen = fs::read_to_string(tree.dir.join("deploy/seen")).unwrap();
        assert_eq!(seen.lines().collect::<Vec<_>>(), expected, "{arch}");
    }
}
