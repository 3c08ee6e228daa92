use super::record::{Answer, Recorder};
use super::{Command, Program};
use crate::base::tool::Tool;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn bash(script: &str) -> Command {
    Command::new(Tool::Bash).args(["-c", script])
}

#[test]
fn streams_both_outputs_in_order_and_reports_the_end() {
    let mut seen = Vec::new();
    let result = bash("echo one; echo two >&2; printf 'a\\rb\\n'; exit 3")
        .stream(&mut |line| seen.push(line.to_owned()));
    assert_eq!(seen, ["one", "two", "b"]);
    let said = result.unwrap_err().to_string();
    assert!(said.ends_with(" ended with 3"), "{said}");
}

#[test]
fn standard_input_is_empty_unless_given() {
    assert_eq!(bash("cat").read().unwrap(), "");
    assert_eq!(bash("cat").input("text").read().unwrap(), "text");
}

/// A shell takes the line of a failure for the same command.
#[test]
fn a_failure_is_a_line_to_paste() {
    let dir = tempfile::Builder::new().prefix("a b'c").tempdir().unwrap();
    let script = "printf '%s|' \"$PWD\" \"$@\" >&2; exit 7";
    let args = ["bash", "two words", "don't", "$HOME;*", "", "ä\n"];
    let command = bash(script).args(args).dir(dir.path());
    let said = command.stream(&mut |_| ()).unwrap_err().to_string();
    let line = said.strip_suffix(" ended with 7").unwrap();
    let pasted = bash(line).output().unwrap();
    let direct = command.output().unwrap();
    assert_eq!(pasted.status.code(), Some(7));
    assert_eq!(pasted.stderr, direct.stderr);
    assert!(String::from_utf8_lossy(&direct.stderr).contains("|two words|don't|$HOME;*||"));
}

#[test]
fn neither_environment_nor_input_is_told() {
    let command = bash("cat >/dev/null; exit 1")
        .set("PASSWORD", "hunter2")
        .input("hunter2");
    assert!(!format!("{:#}", command.read().unwrap_err()).contains("hunter2"));
    let command = command.env([("PATH", "/usr/bin"), ("PASS", "hunter2")]);
    assert!(!format!("{:#}", command.read().unwrap_err()).contains("hunter2"));
}

#[test]
fn neither_is_what_logs_in_at_an_address() {
    let proxy = "-oAcquire::http::Proxy=http://me:hunter2@proxy:3142/a@b";
    let sources = "deb http://u:hunter2@m/debian trixie http://n/c@d";
    let command = bash("exit 1").args([proxy, sources]);
    let said = command.run().unwrap_err().to_string();
    assert!(!said.contains("hunter2"), "{said}");
    assert!(said.contains("Proxy=http://***@proxy:3142/a@b"), "{said}");
    assert!(
        said.contains("http://***@m/debian trixie http://n/c@d"),
        "{said}"
    );
}

#[test]
fn a_signal_is_told_by_its_name() {
    let said = bash("kill -KILL $$").run().unwrap_err().to_string();
    assert!(said.ends_with("was ended by SIGKILL"), "{said}");
}

#[test]
fn what_is_told_can_be_another_name() {
    let command = bash("exit 100").told_as("apt-get install --yes foo");
    let said = command.run().unwrap_err().to_string();
    assert_eq!(said, "apt-get install --yes foo ended with 100");
}

/// Programs may have any bytes in their arguments and variables.
#[test]
fn what_is_not_unicode_is_passed_on() {
    let raw = OsStr::from_bytes(b"\xff");
    let command = bash("printf '%s' \"$X$1\"")
        .arg("bash")
        .arg(raw)
        .set("X", raw);
    assert_eq!(command.output().unwrap().stdout, b"\xff\xff");
}

#[test]
fn a_missing_program_is_told_with_its_package() {
    let tool = Tool::ALL.into_iter().find(|tool| tool.find().is_none());
    let Some(tool) = tool else {
        // A machine with every tool has none to miss: the sentence alone is looked at.
        assert!(Tool::Minisign.lacking().ends_with("apt install minisign"));
        return;
    };
    let said = format!("{:#}", Command::new(tool).read().unwrap_err());
    let end = format!("apt install {}", tool.package());
    assert!(
        said.contains("is not installed") && said.ends_with(&end),
        "{said}"
    );
}

#[test]
fn a_program_around_another_is_part_of_the_line() {
    let command = bash("exit 3").through(Tool::Timeout, ["60"]);
    let said = command.run().unwrap_err().to_string();
    assert_eq!(said, "timeout 60 bash -c 'exit 3' ended with 3");
}

/// More than a pipe holds, on both sides of it.
#[test]
fn pipes_do_not_stand_in_each_others_way() {
    let much = "for i in {1..20000}; do echo 0123456789; echo 0123456789 >&2; done";
    let mut text = String::new();
    let (end, read) = bash(much)
        .read_through(|from| from.read_to_string(&mut text))
        .unwrap();
    assert_eq!(
        (read.unwrap(), end.stderr.len()),
        (11 * 20_000, 11 * 20_000)
    );

    let script = format!("{much}; cat >/dev/null; exit 4");
    let bytes = vec![b'x'; 1 << 20];
    let (end, written) = bash(&script)
        .write_through(|to| to.write_all(&bytes))
        .unwrap();
    written.unwrap();
    assert_eq!(
        (end.status.code(), end.stderr.len()),
        (Some(4), 11 * 20_000)
    );

    let (mut out, mut err) = (0, 0);
    let status = bash(much)
        .lines(&mut |_| out += 1, &mut |_| err += 1)
        .unwrap();
    assert!(status.success() && out == 20_000 && err == 20_000);
}

#[test]
fn a_reader_that_gives_up_does_not_wait() {
    let endless = bash("while :; do echo y; done");
    let (end, read) = endless
        .read_through(|from| -> anyhow::Result<()> {
            from.read_exact(&mut [0; 16])?;
            anyhow::bail!("enough")
        })
        .unwrap();
    assert_eq!(read.unwrap_err().to_string(), "enough");
    assert!(!end.status.success());
}

#[test]
fn a_console_ends_with_its_reader() {
    let console = bash("echo $$; exec sleep 60").console().unwrap();
    let mut pid = String::new();
    BufReader::new(console.reader())
        .read_line(&mut pid)
        .unwrap();
    let process = Path::new("/proc").join(pid.trim());
    assert!(process.exists());
    drop(console);
    assert!(!process.exists());
}

#[test]
fn a_recorder_stands_in_for_the_machine() {
    let recorder = Recorder::answering(|call| Answer {
        code: i32::from(call.text().contains("false")),
        stdout: b"yes\n".to_vec(),
        ..Answer::default()
    });
    recorder.during(|| {
        let emulator = Program::At("/nowhere".into(), Tool::Quilt);
        assert_eq!(Command::new(emulator).read().unwrap(), "yes\n");
        let own = Command::new(Program::Own).arg("false").dir(Path::new("/x"));
        let said = own.run().unwrap_err().to_string();
        assert_eq!(said, "(cd /x && westwork-gen false) ended with 1");
    });
    let calls = recorder.calls();
    assert_eq!(calls[1].argv, ["westwork-gen", "false"].map(OsString::from));
    assert!(Recorder::current().is_none());
}
