//! The readers, as `fuzz/` calls them with bytes that nobody made on purpose.

use super::image::Image;
use super::image::stream::Packed;
use super::image::table;
use super::{diff, flash, inspect};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Bytes that are unpacked of a stream; the rest is more of the same.
const UNPACKED: u64 = 4 << 20;

/// A file in memory with these bytes.
fn file(data: &[u8]) -> File {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let file = File::from(memfd_create("fuzz", MFdFlags::empty()).expect("memory for a file"));
    file.write_all_at(data, 0).expect("a file in memory");
    file
}

/// All that `inspect` and `diff` do with an image: its table, its file systems, its files.
pub fn image(data: &[u8]) {
    let Ok(image) = Image::of_raw(file(data)) else {
        return;
    };
    let text = inspect::text_of(&image);
    let bad = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(bad), "{text:?}");
    // The other one is the same but for its end.
    let mut other = data.to_vec();
    let middle = other.len() / 2;
    other[middle..]
        .iter_mut()
        .step_by(97)
        .for_each(|byte| *byte ^= 1);
    if let Ok(other) = Image::of_raw(file(&other)) {
        let text = diff::text_of(image, other);
        assert!(!text.contains(bad), "{text:?}");
    }
}

/// The partition tables alone.
pub fn table(data: &[u8]) {
    let _ = table::read(&file(data), data.len() as u64);
}

/// The forms of packed images, told by content and by a name that the first byte chooses.
pub fn stream(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let names = ["a.img", "a.img.zst", "a.img.xz", "a.img.gz", "a.zip"];
    let dir = PathBuf::from(format!("/dev/shm/westwork-gen-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let path = dir.join(names[usize::from(*choice) % names.len()]);
    let written = File::create(&path).and_then(|mut file| file.write_all(data));
    written.expect("a file");
    if let Ok(packed) = Packed::open(&path, choice & 0x80 != 0) {
        let _ = packed.raw_size();
        let _ = packed.with(|reader| {
            let copied = std::io::copy(&mut reader.take(UNPACKED), &mut std::io::sink());
            Ok(copied?)
        });
    }
    let _ = std::fs::remove_dir_all(&dir);
}

/// Block maps.
pub fn map(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = flash::bmap::parse(text);
    }
}
