//! What each kind of value must look like. Each function takes the text and says what is
//! wrong with it and what to write instead.

use super::keys::nearest_of;
use super::{Address, Signer};
use super::{Arch, Bootstrap, Compression, Distro};
use crate::base::size::parse_size;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is wrong, and the remedy.
pub(super) type Fault = (String, String);

fn fault(what: impl Into<String>, remedy: impl Into<String>) -> Fault {
    (what.into(), remedy.into())
}

/// `0`, `1`, and the words people write for them; empty is no.
pub(super) fn flag(text: &str) -> Result<bool, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "" | "0" | "no" | "false" => Ok(false),
        "1" | "yes" | "true" => Ok(true),
        _ => Err(fault(format!("{text} is neither 0 nor 1"), "write 0 or 1")),
    }
}

/// One of several words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let remedy = match nearest_of(text, known.iter().copied()) {
        Some(word) => format!("did you mean {word}? (one of {})", known.join(", ")),
        None => format!("write one of {}", known.join(", ")),
    };
    Err(fault(format!("{text} is not known"), remedy))
}

/// A number of bytes with K, M or G after it (powers of 1024).
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    parse_size(text).map_err(|_| {
        fault(
            format!("{text} is not a size"),
            "write a number with K, M or G, such as 512M",
        )
    })
}

/// An address apt can fetch from.
pub(super) fn url(text: &str) -> Result<(), Fault> {
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(host)
            if !host.is_empty() && !text.contains(char::is_whitespace) && !text.contains('"') =>
        {
            Ok(())
        }
        _ => Err(fault(
            format!("{text} is not a web address"),
            "write http://… or https://…",
        )),
    }
}

/// Part of a file name.
pub(super) fn file_name(text: &str) -> Result<(), Fault> {
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    match text.chars().find(|c| bad(*c)) {
        Some(c) => Err(fault(
            format!("{text:?} has {c:?} in it, which a file name here cannot have"),
            "use letters, digits, dots and dashes",
        )),
        None if text.starts_with(['.', '-']) => Err(fault(
            format!("{text} begins with a dot or a dash"),
            "begin with a letter",
        )),
        None => Ok(()),
    }
}

/// adduser's NAME_REGEX of Debian, and not root.
pub(super) fn user_name(text: &str) -> Result<(), Fault> {
    let letters = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    let good = text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(letters);
    match (good, text) {
        (_, "root") => Err(fault(
            "the first user cannot be root",
            "choose another name",
        )),
        (true, _) => Ok(()),
        _ => Err(fault(
            format!("{text} is not a user name"),
            "begin with a-z; then a-z, 0-9, - and _, 32 at most",
        )),
    }
}

/// Labels of RFC 1123.
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

pub(super) fn host_name(text: &str) -> Result<(), Fault> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(());
    }
    Err(fault(
        format!("{text} is not a host name"),
        "use letters, digits and dashes, such as westwork",
    ))
}

/// `language[_TERRITORY].UTF-8[@modifier]`.
pub(super) fn locale(text: &str) -> Result<(), Fault> {
    let (name, charset) = text.split_once('.').unwrap_or((text, ""));
    let language = name.split('_').next().unwrap_or_default();
    let name_is_good = name == "C"
        || ((2..=3).contains(&language.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic() || byte == b'_'));
    let charset_is_good = charset.split('@').next() == Some("UTF-8");
    match (name_is_good, charset_is_good) {
        (true, true) => Ok(()),
        (true, false) => Err(fault(
            format!("{text} does not end in .UTF-8"),
            format!("write {name}.UTF-8"),
        )),
        _ => Err(fault(
            format!("{text} is not a locale"),
            "write one such as en_GB.UTF-8",
        )),
    }
}

/// A zone of the tz database; looked up where this machine has it.
pub(super) fn time_zone(text: &str) -> Result<(), Fault> {
    let good = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    if !text.split('/').all(good) {
        return Err(fault(
            format!("{text} is not a time zone"),
            "write one such as Europe/London",
        ));
    }
    let zones = Path::new("/usr/share/zoneinfo");
    if zones.is_dir() && !zones.join(text).is_file() {
        return Err(fault(
            format!("there is no time zone {text}"),
            "choose one of `timedatectl list-timezones`",
        ));
    }
    Ok(())
}

/// A line of authorized_keys(5) without options.
pub(super) fn public_key(text: &str) -> Result<(), Fault> {
    let kind = text.split_whitespace().next().unwrap_or_default();
    let good = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|start| kind.starts_with(start))
        && text.split_whitespace().count() >= 2
        && !text.contains('\n');
    if good {
        return Ok(());
    }
    Err(fault(
        "this is not a public SSH key",
        "paste the line of your id_ed25519.pub",
    ))
}

/// A Linux program for the target.
pub(super) fn program(path: &Path) -> Result<PathBuf, Fault> {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    if read.is_ok() && magic == *b"\x7fELF" {
        return Ok(path.to_owned());
    }
    Err(fault(
        format!("{} is no Linux program", path.display()),
        "correct the path, or leave the key out to have the program compiled",
    ))
}

/// An ISO 3166-1 alpha-2 code.
pub(super) fn country(text: &str) -> Result<(), Fault> {
    if COUNTRIES.split(' ').any(|code| code == text) {
        return Ok(());
    }
    let upper = text.to_ascii_uppercase();
    let remedy = match upper.as_str() {
        "UK" => "write GB".to_owned(),
        upper if COUNTRIES.split(' ').any(|code| code == upper) => format!("write {upper}"),
        _ => "write two letters such as GB, DE or US (ISO 3166)".to_owned(),
    };
    Err(fault(format!("{text} is not a country code"), remedy))
}

/// `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Result<(), Fault> {
    match text.parse::<jiff::civil::Date>() {
        Ok(_) => Ok(()),
        Err(_) => Err(fault(format!("{text} is not a date"), "write YYYY-MM-DD")),
    }
}

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

/// An OpenPGP fingerprint; spaces between its groups are those of printed ones.
pub(super) fn fingerprint(text: &str) -> Result<String, Fault> {
    let digits: String = text.split_ascii_whitespace().collect();
    if digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_uppercase());
    }
    Err(fault(
        format!("{text} is not a key's fingerprint"),
        "write all of its 40 hexadecimal digits, as `gpg --show-keys FILE` prints them",
    ))
}

/// A file that can be read.
pub(super) fn readable(path: &Path) -> Result<PathBuf, Fault> {
    match File::open(path) {
        Ok(_) if path.is_file() => Ok(path.to_owned()),
        Ok(_) => Err(fault(
            format!("{} is not a file", path.display()),
            "correct the path",
        )),
        Err(error) => Err(fault(
            format!("{} cannot be read: {error}", path.display()),
            "correct the path",
        )),
    }
}

/// `APT_TIMEOUT`, seconds.
pub(super) fn timeout(text: &str) -> Result<u32, Fault> {
    match text.parse() {
        Ok(seconds @ 1..=600) => Ok(seconds),
        _ => Err(fault(
            format!("{text} is not a number of seconds from 1 to 600"),
            "write one such as 30",
        )),
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
    let known = ["trixie", "stable", "forky", "sid"].map(|name| (name, name));
    one_of(text, &known).map(str::to_owned)
}

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
    let words = [
        ("none", Compression::None),
        ("zip", Compression::Zip),
        ("gz", Compression::Gz),
        ("xz", Compression::Xz),
        ("zst", Compression::Zst),
    ];
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

/// `SIGN_WITH`; the file of a key is relative to `cwd`.
pub(super) fn signer(text: &str, cwd: &Path) -> Result<Signer, Fault> {
    match text.split_once(':') {
        Some(("minisign", file)) if !file.is_empty() => Ok(Signer::Minisign(cwd.join(file))),
        Some(("gpg", key)) if !key.is_empty() && !key.starts_with('-') => {
            Ok(Signer::Gpg(key.to_owned()))
        }
        _ => Err(fault(
            format!("{text} does not say who signs"),
            "write minisign:FILE or gpg:KEY",
        )),
    }
}

/// `CACHE_FROM` and `CACHE_TO`; a path is relative to `cwd`.
pub(super) fn cache(text: &str, cwd: &Path) -> Result<Address, Fault> {
    Address::parse(text, cwd).map_err(|wrong| {
        let (what, remedy) = wrong.split_once("; ").unwrap_or((&wrong, ""));
        fault(what.to_owned(), remedy.to_owned())
    })
}

/// Source: ISO 3166-1, as in the tz database's iso3166.tab.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_values_pass_and_bad_ones_do_not() {
        let good = [
            url("http://m.example/debian").is_ok(),
            user_name("anna-b_2").is_ok(),
            host_name("a.b-c").is_ok(),
            locale("en_GB.UTF-8").is_ok(),
            locale("ca_ES.UTF-8@valencia").is_ok(),
            time_zone("Europe/London").is_ok(),
            public_key("ssh-ed25519 AAAA me").is_ok(),
            country("GB").is_ok(),
            file_name("My-Image_1.0").is_ok(),
            date("2026-02-28").is_ok(),
            fingerprint("CF8A 1AF5 02A2 AA2D 763B  AE7E 82B1 2992 7FA3 303E").is_ok(),
        ];
        assert_eq!(good, [true; 11]);
        let bad = [
            url("ftp://x").is_ok(),
            user_name("Anna").is_ok(),
            user_name("root").is_ok(),
            host_name("-a").is_ok(),
            locale("english").is_ok(),
            time_zone("../etc/passwd").is_ok(),
            public_key("AAAA").is_ok(),
            country("UK").is_ok(),
            file_name("a b").is_ok(),
            date("2026-02-30").is_ok(),
            fingerprint("82B129927FA3303E").is_ok(),
            timeout("0").is_ok(),
        ];
        assert_eq!(bad, [false; 12]);
    }
}
