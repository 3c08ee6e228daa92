//! Values that are one of a few words, or say by whom and how something is done.

use super::reader::Reader;
use super::values::{Fault, fault, one_of, program, size};
use super::{Address, Arch, Bootstrap, Compression, Distro, Signer};
use std::path::PathBuf;

/// `DISTRO`.
pub(super) fn distro(text: &str) -> Result<Distro, Fault> {
    match text {
        "raspbian" => Err(fault(
            "raspbian is not known",
            "write DISTRO=raspios, which is made from Raspbian with ARCH=armhf",
        )),
        _ => one_of(
            text,
            &[("debian", Distro::Debian), ("raspios", Distro::Raspios)],
        ),
    }
}

/// `ARCH`, by Debian's names.
pub(super) fn arch(text: &str) -> Result<Arch, Fault> {
    match text {
        "aarch64" | "armv8" => Err((
            format!("{text} is not Debian's name of it"),
            "write arm64".to_owned(),
        )),
        "arm" | "armv7" | "armv7l" => Err((
            format!("{text} is not Debian's name of it"),
            "write armhf".to_owned(),
        )),
        _ => one_of(text, &[("arm64", Arch::Arm64), ("armhf", Arch::Armhf)]),
    }
}

/// `RELEASE`: suites that have the packages stages name.
pub(super) fn release(text: &str) -> Result<String, Fault> {
    if let Some((_, until)) = ENDED.iter().find(|(name, _)| *name == text) {
        return Err(fault(
            format!("{text} is out of support since {until}: nobody mends its packages any more"),
            format!("move the tree to one of {}", RELEASES.join(", ")),
        ));
    }
    let known: Vec<_> = RELEASES.iter().map(|name| (*name, *name)).collect();
    one_of(text, &known).map(str::to_owned)
}

/// Words of `RELEASE`.
pub(super) const RELEASES: &[&str] = &["bookworm", "trixie", "stable", "forky", "sid"];

/// Releases of the past, with the end of Debian's long-term support for each.
const ENDED: &[(&str, &str)] = &[
    ("jessie", "2020-06-30"),
    ("stretch", "2022-06-30"),
    ("buster", "2024-06-30"),
    ("bullseye", "2026-08-31"),
];

/// `BOOTSTRAP`.
pub(super) fn bootstrap(text: &str) -> Result<Bootstrap, Fault> {
    one_of(
        text,
        &[
            ("mmdebstrap", Bootstrap::Mmdebstrap),
            ("debootstrap", Bootstrap::Debootstrap),
        ],
    )
}

/// The name of a core, with its options, as qemu takes it.
pub(super) fn qemu_cpu(text: &str) -> Result<(), Fault> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b',' | b'=');
    if text.bytes().all(word) {
        return Ok(());
    }
    Err(fault(
        format!("{text} is not a core's name"),
        "use one that `qemu-aarch64-static -cpu help` lists, such as cortex-a72",
    ))
}

/// A compression level.
pub(super) fn level(text: &str) -> Result<u8, Fault> {
    match text.parse() {
        Ok(level @ 0..=9) => Ok(level),
        _ => Err((
            format!("{text} is not a level"),
            "write a digit, 0 to 9".to_owned(),
        )),
    }
}

/// `BOOT_SIZE`, bytes.
pub(super) fn boot_size(text: &str) -> Result<u64, Fault> {
    match size(text)? {
        size if size < 64 << 20 => Err((
            format!("{text} is too small for a kernel and its initramfs"),
            "write 64M or more".to_owned(),
        )),
        size => Ok(size),
    }
}

/// `DEPLOY_COMPRESSION`: words with spaces or commas between them.
pub(super) fn compression(text: &str) -> Result<Vec<Compression>, Fault> {
    let words = Compression::ALL.map(|form| (form.word(), form));
    let mut all = Vec::new();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        let one = one_of(word, &words)?;
        if !all.contains(&one) {
            all.push(one);
        }
    }
    if all.is_empty() {
        return Err(fault("there is no format in it", "write one such as zst"));
    }
    Ok(all)
}

/// `DEPLOY_COMPRESSION`, or what pi-gen's older key says in its place.
pub(super) fn formats(reader: &mut Reader<'_>) -> Vec<Compression> {
    let newer = reader.raw.settings.contains_key("DEPLOY_COMPRESSION");
    match reader.get_of("DEPLOY_ZIP") {
        "0" if !newer => vec![Compression::None],
        "1" if !newer => vec![Compression::Zip],
        _ => reader.value(compression),
    }
}

/// `SIGN_WITH`; the file of a key is relative to where the program was started.
pub(super) fn signer(reader: &mut Reader<'_>) -> Option<Signer> {
    let cwd = &reader.request.cwd;
    reader.optional(|text| match text.split_once(':') {
        Some(("minisign", file)) if !file.is_empty() => Ok(Signer::Minisign(cwd.join(file))),
        Some(("gpg", key)) if !key.is_empty() && !key.starts_with('-') => {
            Ok(Signer::Gpg(key.to_owned()))
        }
        _ => Err(fault(
            format!("{text} does not say who signs"),
            "write minisign:FILE or gpg:KEY",
        )),
    })
}

/// `CACHE_FROM` and `CACHE_TO`; a path is relative to where the program was started.
pub(super) fn cache(reader: &mut Reader<'_>) -> Option<Address> {
    let cwd = &reader.request.cwd;
    reader.optional(|text| {
        Address::parse(text, cwd).map_err(|wrong| {
            let (what, remedy) = wrong.split_once("; ").unwrap_or((&wrong, ""));
            fault(what, remedy)
        })
    })
}

/// `WESTWORK_BIN`; relative to where the program was started.
pub(super) fn device_program(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let cwd = &reader.request.cwd;
    reader.optional(|text| program(&cwd.join(text)))
}
