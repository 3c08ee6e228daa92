//! Compiles the dispatcher (src/dispatch/dispatcher.rs), a tiny static program of the build
//! machine's architecture that the main program carries in itself.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let source = "src/dispatch/dispatcher.rs";
    println!("cargo::rerun-if-changed={source}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("dispatcher");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut command = Command::new(rustc);
    command
        .args([
            "--edition=2024",
            "--crate-type=bin",
            "--crate-name=dispatcher",
            "-Dwarnings",
        ])
        .args(["-Copt-level=2", "-Cpanic=abort", "-Cstrip=symbols"])
        .args(["-Ctarget-feature=+crt-static", "-Crelocation-model=static"])
        .arg(format!("--target={target}"))
        .arg("-o")
        .arg(&out)
        .arg(source);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg(format!("-Clinker={}", linker.to_string_lossy()));
    }
    let status = command.status().expect("starting rustc");
    assert!(status.success(), "compiling {source}: {status}");
}
