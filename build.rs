//! Compiles the three small parts that the main program carries in itself, all for the build
//! machine: the dispatcher (src/native/dispatch/dispatcher.rs) and process 1 of a command in the
//! image (src/sandbox/init.rs), both static programs, and the library that makes mke2fs faster
//! (src/export/disk/mke2fs_io.rs). And puts the recipes of examples/ into it.
//! And tells the program which commit it is made of.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rustc-env=WESTWORK_VERSION={}", version());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    compile(
        "src/native/dispatch/dispatcher.rs",
        &[
            "--crate-type=bin",
            "-Copt-level=2",
            "-Ctarget-feature=+crt-static",
            "-Crelocation-model=static",
        ],
        &out.join("dispatcher"),
    );
    compile(
        "src/sandbox/init.rs",
        &[
            "--crate-type=bin",
            "-Copt-level=s",
            "-Ctarget-feature=+crt-static",
            "-Crelocation-model=static",
        ],
        &out.join("init"),
    );
    recipes(&out.join("recipes.rs"));
    let library = out.join("mke2fs_io.so");
    let variable = |name: &str| env::var(name).expect("cargo sets the target's variables");
    let known = ["x86_64", "aarch64"].contains(&variable("CARGO_CFG_TARGET_ARCH").as_str());
    if known && variable("CARGO_CFG_TARGET_ENV") == "gnu" {
        compile(
            "src/export/disk/mke2fs_io.rs",
            &[
                "--crate-type=cdylib",
                "-Copt-level=3",
                "-Clink-arg=-nostdlib",
            ],
            &library,
        );
    } else {
        // The exporter then does without.
        fs::write(&library, []).expect("writing to OUT_DIR");
    }
}

/// Writes the table of all files below examples/*/, which `new` makes folders of.
fn recipes(out: &Path) {
    println!("cargo::rerun-if-changed=examples");
    let mut files = Vec::new();
    let here = env::current_dir().expect("cargo starts it in the package's directory");
    for entry in fs::read_dir("examples").into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            below(&entry.path(), &mut files);
        }
    }
    files.sort();
    let mut text = String::from("static FILES: &[File] = &[\n");
    for path in files {
        let mode = fs::metadata(&path).expect("a recipe's file").mode();
        let name = path.strip_prefix("examples").expect("it is below examples");
        text += &format!(
            "File {{ path: {:?}, executable: {}, content: include_bytes!({:?}) }},\n",
            name,
            mode & 0o100 != 0,
            here.join(&path)
        );
    }
    fs::write(out, text + "];\n").expect("writing to OUT_DIR");
}

fn below(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a recipe's folder").flatten() {
        let path = entry.path();
        // What a build leaves is no part of a recipe.
        let is_built = ["deploy", "work"]
            .iter()
            .any(|name| entry.file_name() == *name);
        if path.is_dir() && !is_built {
            below(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

/// What `--version` says: the version, and the commit if it is known. It is, in this order, what
/// `WESTWORK_COMMIT` says (scripts/deb compiles where there is no git), what `git archive` has put
/// into source-commit, or what git says of this very directory. Builds for development do not ask
/// git: each commit would have everything compiled again.
fn version() -> String {
    println!("cargo::rerun-if-env-changed=WESTWORK_COMMIT");
    println!("cargo::rerun-if-changed=source-commit");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets the version");
    let of_archive = || fs::read_to_string("source-commit").ok();
    let commit = env::var("WESTWORK_COMMIT").ok().or_else(of_archive);
    let commit = commit.map(|commit| commit.trim().to_owned());
    match commit
        .filter(|commit| is_commit(commit))
        .or_else(git_commit)
    {
        Some(commit) => format!("{version} ({})", &commit[..12]),
        None => version,
    }
}

fn is_commit(word: &str) -> bool {
    word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn git_commit() -> Option<String> {
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return None;
    }
    let git = |words: &[&str]| {
        let answer = Command::new("git").args(words).output().ok()?;
        let text = String::from_utf8(answer.stdout).ok()?;
        answer.status.success().then(|| text.trim().to_owned())
    };
    // Sources may be unpacked in somebody else's repository.
    let top = fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    let here = fs::canonicalize(env::var_os("CARGO_MANIFEST_DIR")?).ok()?;
    if top != here {
        return None;
    }
    // It grows by a line whenever HEAD moves.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"]).filter(|commit| is_commit(commit))
}

fn compile(source: &str, options: &[&str], out: &Path) {
    println!("cargo::rerun-if-changed={source}");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut command = Command::new(rustc);
    command
        .args(["--edition=2024", "-Dwarnings"])
        .args(["-Cpanic=abort", "-Cstrip=symbols"])
        .args(options)
        .arg(format!("--target={target}"))
        .arg("-o")
        .arg(out)
        .arg(source);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg(format!("-Clinker={}", linker.to_string_lossy()));
    }
    let status = command.status().expect("starting rustc");
    assert!(status.success(), "compiling {source}: {status}");
}
