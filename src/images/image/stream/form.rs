//! How a file is packed, by its first bytes and its name together.
//!
//! Magic numbers: RFC 8878 (zstd, with frames to skip in front), the formats' own
//! specifications for xz, gzip (RFC 1952), zip (APPNOTE.TXT) and what is only named.

use crate::base::bytes::u32_at;
use crate::base::problem::{Problem, Problems};
use anyhow::Result;
use serde::Serialize;
use std::path::Path;

/// How an image is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Raw,
    Zst,
    Xz,
    Gz,
    Zip,
}

/// Bytes in which a form can be told.
pub(super) const LOOKED_AT: usize = 512;

/// Extensions of packed files: those that are unpacked here, and others.
const UNPACKED: [&str; 5] = ["zst", "zstd", "xz", "gz", "zip"];
const OTHERS: [&str; 16] = [
    "bz2", "7z", "lz4", "lzma", "lz", "lzo", "br", "rar", "cab", "z", "lrz", "tar", "tgz", "qcow2",
    "vmdk", "vhdx",
];

/// What this program unpacks; `None` for anything else.
pub(super) fn by_content(head: &[u8]) -> Option<Form> {
    match head {
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Form::Zst),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Form::Xz),
        [0x1f, 0x8b, ..] => Some(Form::Gz),
        // The second is that of a zip with nothing in it.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Form::Zip),
        _ => None,
    }
}

const UNPACK: &str = "unpack it first";
const CONVERT: &str = "turn it into a raw image first, with qemu-img convert -O raw";

/// What is no image and not unpacked here: the place of its mark and the mark, what it is, and
/// what to do.
const FOREIGN: [(usize, &[u8], &str, &str); 19] = [
    (0, b"BZh", "packed with bzip2", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"\x04\x22\x4d\x18", "packed with lz4", UNPACK),
    (0, b"\x02\x21\x4c\x18", "packed with lz4", UNPACK),
    (0, b"LZIP", "packed with lzip", UNPACK),
    (0, b"\x89LZO\0", "packed with lzop", UNPACK),
    (0, b"LRZI", "packed with lrzip", UNPACK),
    (0, b"\x1f\x9d", "packed with compress", UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", UNPACK),
    (0, b"MSCF", "a cab archive", UNPACK),
    (
        0,
        b"!<arch>\n",
        "a Debian package or another ar archive",
        UNPACK,
    ),
    (0, b"%PDF-", "a PDF", "download the image itself"),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"QFI\xfb", "a disk of QEMU", CONVERT),
    (0, b"KDMV", "a disk of VMware", CONVERT),
    (0, b"# Disk DescriptorFile", "a disk of VMware", CONVERT),
    (0, b"vhdxfile", "a disk of Hyper-V", CONVERT),
    (0, b"conectix", "a disk of Hyper-V", CONVERT),
    (
        0,
        b"\x3a\xff\x26\xed",
        "a sparse image of Android",
        "turn it into a raw image first, with simg2img",
    ),
];

/// How texts begin that are no image.
const TEXTS: [(&str, &str, &str); 6] = [
    ("<!doctype", "a web page", PAGE),
    ("<html", "a web page", PAGE),
    ("<head", "a web page", PAGE),
    ("<body", "a web page", PAGE),
    ("<?xml", "an XML text such as a block map", BESIDE),
    ("<bmap", "an XML text such as a block map", BESIDE),
];
const PAGE: &str = "download the image again, from the address behind the page's link";
const BESIDE: &str = "name the image beside it";

/// What is no image and not unpacked here: what it is, and what to do.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    // A disk begins as it likes, and says at the end of its first sector that it is one.
    if head.get(510..512) == Some(&[0x55, 0xaa]) {
        return None;
    }
    let begins = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
    let mut marks = FOREIGN.iter();
    if let Some((_, _, what, remedy)) = marks.find(|(at, mark, ..)| begins(*at, mark)) {
        return Some((what, remedy));
    }
    // No mark: a byte of settings, and the size of the dictionary, which is a round one.
    if head.len() > 13 && head[0] == 0x5d {
        let dictionary = u32_at(head, 1);
        if dictionary >= 4096 && dictionary & 0xfff == 0 {
            return Some(("packed with lzma", UNPACK));
        }
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let text = text.to_lowercase();
    let mut texts = TEXTS.iter();
    let (_, what, remedy) = texts.find(|(begin, ..)| text.starts_with(begin))?;
    Some((what, remedy))
}

/// The form of the file at `path`, which begins with `head`.
///
/// # Errors
/// [`Problems`] when content or name say that it is something else than an image or packed in
/// one of the forms.
pub(super) fn form_of(path: &Path, head: &[u8]) -> Result<Form> {
    let refuse = |what: String, remedy: &str| -> Result<Form> {
        Err(Problems(vec![Problem::new(what, remedy).at(path)]).into())
    };
    if let Some(form) = by_content(head) {
        return Ok(form);
    }
    if let Some((what, remedy)) = foreign(head) {
        return refuse(
            format!("it is {what}, and img, zst, xz, gz and zip are read"),
            remedy,
        );
    }
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    if UNPACKED.contains(&&*extension) {
        let what = format!("its name says {extension}, and its content is something else");
        return refuse(
            what,
            "download it again; if it is a raw image, let its name end in .img",
        );
    }
    if OTHERS.contains(&&*extension) {
        let what = format!("its name says {extension}, and img, zst, xz, gz and zip are read");
        return refuse(
            what,
            "unpack it first; if it is a raw image, let its name end in .img",
        );
    }
    Ok(Form::Raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_name_are_judged_together() {
        let of =
            |name: &str, head: &[u8]| form_of(Path::new(name), head).map_err(|e| e.to_string());
        let mut disk = vec![0; 512];
        disk[..4].copy_from_slice(b"BZh9");
        disk[510..].copy_from_slice(&[0x55, 0xaa]);
        for (name, head, wanted) in [
            ("a.img", &b"\0\0"[..], Form::Raw),
            ("a.img", &disk[..], Form::Raw),
            // Whatever it is called.
            ("a.img", b"\x28\xb5\x2f\xfd...", Form::Zst),
            ("a.img.xz", b"\x28\xb5\x2f\xfd...", Form::Zst),
            ("a.img.zst", b"\x5a\x2a\x4d\x18\x04\0\0\0", Form::Zst),
            ("a.zip", b"PK\x05\x06", Form::Zip),
            ("a", b"\x1f\x8b\x08", Form::Gz),
        ] {
            assert_eq!(of(name, head), Ok(wanted), "{name} {head:?}");
        }
        let lzma = [&[0x5d, 0, 0, 0x80, 0][..], &[0xff; 8], &[0; 8]].concat();
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (name, head, words) in [
            ("a.img", &b"BZh91AY"[..], "bzip2"),
            ("a.img", b"7z\xbc\xaf\x27\x1c", "7z archive"),
            ("a.img", b"\x04\x22\x4d\x18", "lz4"),
            ("a.img", &lzma, "lzma"),
            ("a.img", &tar, "tar archive"),
            ("a.img.zip", b"\n<!DOCTYPE html><html>", "web page"),
            ("a.img.xz", b"\xfd7zXY\0", "download it again"),
            ("a.img.br", b"\x0b\x02", "name says br"),
            ("a.IMG.BZ2", b"", "name says bz2"),
            ("a.bmap", b"<?xml version=", "block map"),
        ] {
            let said = of(name, head).unwrap_err();
            assert!(said.contains(words), "{name}: {said}");
        }
    }
}
