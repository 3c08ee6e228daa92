//! Compiles the three small parts that the main program carries in itself, all for the build
//! machine: the dispatcher (src/native/dispatch/dispatcher.rs) and process 1 of a command in the
//! image (src/sandbox/init.rs), both static programs, and the library that makes mke2fs faster
//! (src/export/disk/mke2fs_io.rs).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
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
