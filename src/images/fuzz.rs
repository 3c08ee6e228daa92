//! The readers, as `fuzz/` calls them with bytes that nobody made on purpose. The test below does
//! the same for some seconds, always with the same bytes.

use super::image::Image;
use super::image::stream::Packed;
use super::image::table;
use super::{diff, flash, inspect, report};
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

/// All that `inspect`, `report` and `diff` do with an image: its table, its file systems, its files.
pub fn image(data: &[u8]) {
    let Ok(image) = Image::of_raw(file(data)) else {
        return;
    };
    let text = inspect::text_of(&image);
    let bad = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(bad), "{text:?}");
    let page = report::text_of(&image);
    assert_eq!(page.matches("<script").count(), 1, "{page}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::{Duration, Instant};

    /// What a reader takes for one input, at most: twenty times what the slowest of the corpus
    /// takes on a slow machine.
    const LONGEST: Duration = Duration::from_secs(20);

    /// xorshift64: the same numbers everywhere.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % bound as u64).unwrap()
        }
    }

    /// Numbers that readers of sizes and of counts stumble over.
    const EDGES: [u64; 9] = [
        0,
        1,
        0x7f,
        0xff,
        0x7fff_ffff,
        0xffff_ffff,
        0x8000_0000,
        u64::MAX,
        u64::MAX / 2,
    ];

    /// Changes some bytes of `data`, most of them in its first pages, where the structures are.
    fn mutate(data: &mut Vec<u8>, numbers: &mut Numbers) {
        for _ in 0..=numbers.below(6) {
            let end = data
                .len()
                .min([512, 4096, 16384, usize::MAX][numbers.below(4)]);
            let at = numbers.below(end.max(1));
            let width = [1, 2, 4, 8][numbers.below(4)].min(data.len() - at);
            let value = match numbers.below(3) {
                0 => EDGES[numbers.below(EDGES.len())],
                _ => numbers.0,
            };
            data[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        if numbers.below(8) == 0 {
            data.truncate(numbers.below(data.len()).max(1));
        }
    }

    /// Each file of the corpus `name` as it is, and changed in so many ways.
    fn fuzz(name: &str, changes: usize, read: fn(&[u8])) {
        let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let entries = fs::read_dir(corpus.join(name)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty());
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for path in paths {
            let whole = fs::read(&path).unwrap();
            for change in 0..=changes {
                let mut data = whole.clone();
                if change > 0 {
                    mutate(&mut data, &mut numbers);
                }
                let begun = Instant::now();
                let read = std::panic::catch_unwind(|| read(&data));
                let took = begun.elapsed();
                assert!(
                    read.is_ok() && took < LONGEST,
                    "{}, change {change}: {read:?} after {took:?}",
                    path.display()
                );
            }
        }
    }

    #[test]
    fn changed_images_end_no_reader() {
        fuzz("ext", 40, image);
        fuzz("fat", 60, image);
        fuzz("squashfs", 40, image);
        fuzz("erofs", 40, image);
    }

    #[test]
    fn changed_tables_streams_and_maps_end_no_reader() {
        fuzz("table", 300, table);
        fuzz("stream", 150, stream);
        fuzz("map", 300, map);
    }
}
