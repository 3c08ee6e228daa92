//! Writes what is made of the table of settings: config.example and docs/config.md.

use std::io;
use std::path::Path;
use westwork_gen::config::describe::{docs, example};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(root.join("config.example"), example())?;
    std::fs::write(root.join("docs/config.md"), docs())
}
