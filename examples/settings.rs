//! Writes what is made of the table of settings: config.example and the keys in docs/config.md.

use std::io;
use std::path::Path;
use westwork_gen::config::describe::{docs, example};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(root.join("config.example"), example())?;
    let page = root.join("docs/config.md");
    let made = docs(&std::fs::read_to_string(&page)?);
    let made = made.ok_or_else(|| io::Error::other("docs/config.md has no place for the keys"))?;
    std::fs::write(page, made)
}
