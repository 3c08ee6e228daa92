//! Writes what a package has besides the program: `DIR/man/westwork-gen*.1` and the completions
//! for bash, zsh and fish in `DIR`.

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use std::io;
use std::path::PathBuf;
use westwork_gen::cli::Cli;

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: cargo run --example manual -- DIR");
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.ok_or_else(usage)?;
    let pages = dir.join("man");
    std::fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "westwork-gen", &dir)?;
    }
    Ok(())
}
