//! One image and what lies beside it: what each file says of the others.

use super::outcome::{Verdict, Verified};
use crate::images::flash::bmap;
use crate::images::flash::checker::Checker;
use crate::images::image::stream::{Packed, fill};
use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Bytes of a file beside an image.
const LONGEST: u64 = 256 << 20;

/// Names of the forms of the image called `stem`, by its build record.
pub(super) fn artefacts(dir: &Path, stem: &str) -> BTreeSet<String> {
    let record = bytes(dir, &format!("{stem}.build.json")).ok().flatten();
    let record: Value = serde_json::from_slice(&record.unwrap_or_default()).unwrap_or(Value::Null);
    let all = record["artefacts"].as_array().into_iter().flatten();
    all.filter_map(|it| Some(it["name"].as_str()?.to_owned()))
        .collect()
}

/// Endings of what every build leaves beside an image.
const ALWAYS: [&str; 7] = [
    ".bmap",
    ".info",
    ".spdx.json",
    ".cdx.json",
    ".rpi-imager-manifest",
    ".build.json",
    ".provenance.json",
];

/// Compares everything about the image called `stem`. `sums` are those of files in `dir` whose bytes
/// were read just now.
pub(super) fn compare(
    dir: &Path,
    stem: &str,
    sums: &BTreeMap<String, String>,
    verified: &mut Verified,
) -> Result<()> {
    for ending in ALWAYS {
        let name = format!("{stem}{ending}");
        if !dir.join(&name).exists() {
            verified.push(
                &name,
                "it lies beside the image",
                Verdict::Missing,
                "restore it, or build the image again",
            );
        }
    }
    let said = Said::read(dir, stem, verified)?;
    let forms: Vec<String> = said
        .artefacts
        .keys()
        .filter(|name| dir.join(name).exists())
        .cloned()
        .collect();
    for (name, wanted) in &said.artefacts {
        match (dir.join(name).exists(), sums.get(name)) {
            (false, _) => verified.push(
                name,
                "it is one of the image's forms",
                Verdict::Missing,
                "restore it",
            ),
            (true, Some(sum)) => verified.add(
                name,
                format!("its checksum in {stem}.build.json"),
                same(wanted, sum),
            ),
            (true, None) => {}
        }
    }
    for name in forms {
        raw(dir, stem, &name, &said, verified)?;
    }
    said.manifest(stem, sums, verified);
    Ok(())
}

fn same(wanted: &str, found: &str) -> Result<(), String> {
    if wanted.eq_ignore_ascii_case(found) {
        return Ok(());
    }
    Err(format!(
        "{} is there, {} was said",
        short(found),
        short(wanted)
    ))
}

fn short(sum: &str) -> String {
    sum.chars().take(12).collect::<String>() + "…"
}

/// What the files beside an image say of it.
struct Said {
    /// SHA-256 of the raw image, by who says so.
    raw: Vec<(String, String)>,
    /// SHA-256 of each form, by the build record.
    artefacts: BTreeMap<String, String>,
    manifest: Value,
}

/// The bytes of a file in `dir`, if it is there.
pub(super) fn bytes(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut bytes))
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(bytes))
}

/// The JSON of a file in `dir`; null if it is not there, or, which is told, is none.
fn json(dir: &Path, name: &str, verified: &mut Verified) -> Result<Value> {
    let Some(bytes) = bytes(dir, name)? else {
        return Ok(Value::Null);
    };
    let parsed = serde_json::from_slice(&bytes);
    if let Err(error) = &parsed {
        verified.add(name, "it is JSON", Err(error.to_string()));
    }
    Ok(parsed.unwrap_or(Value::Null))
}

impl Said {
    fn read(dir: &Path, stem: &str, verified: &mut Verified) -> Result<Self> {
        let name = |ending: &str| format!("{stem}{ending}");
        let record = json(dir, &name(".build.json"), verified)?;
        let cyclonedx = json(dir, &name(".cdx.json"), verified)?;
        let spdx = json(dir, &name(".spdx.json"), verified)?;
        let manifest = json(dir, &name(".rpi-imager-manifest"), verified)?;
        let info = fs::read_to_string(dir.join(name(".info"))).unwrap_or_default();
        let in_info = info
            .lines()
            .find_map(|line| line.strip_prefix("raw sha256: "));
        let spdx_image = spdx["packages"].as_array().into_iter().flatten();
        let spdx_image = spdx_image.filter(|it| it["SPDXID"] == "SPDXRef-Image");
        let spdx_sum = spdx_image
            .filter_map(|it| it["checksums"][0]["checksumValue"].as_str())
            .next();
        let all = [
            (".build.json", record["image"]["raw_sha256"].as_str()),
            (
                ".cdx.json",
                cyclonedx["metadata"]["component"]["hashes"][0]["content"].as_str(),
            ),
            (".spdx.json", spdx_sum),
            (
                ".rpi-imager-manifest",
                manifest["os_list"][0]["extract_sha256"].as_str(),
            ),
            (".info", in_info),
        ];
        for (ending, sum) in all {
            if sum.is_none() && dir.join(name(ending)).exists() {
                let why = "it does not; it was changed or damaged";
                verified.add(
                    &name(ending),
                    "it names the image's checksum",
                    Err(why.to_owned()),
                );
            }
        }
        let artefact = |it: &Value| {
            Some((
                it["name"].as_str()?.to_owned(),
                it["sha256"].as_str()?.to_owned(),
            ))
        };
        let named = all
            .into_iter()
            .filter_map(|(ending, sum)| Some((name(ending), sum?.to_owned())));
        let mut artefacts: BTreeMap<String, String> = record["artefacts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(artefact)
            .collect();
        artefacts.retain(|name, _| !name.contains('/'));
        Ok(Self {
            raw: named.collect(),
            artefacts,
            manifest,
        })
    }

    /// The Imager's manifest is of one of the forms.
    fn manifest(&self, stem: &str, sums: &BTreeMap<String, String>, verified: &mut Verified) {
        let entry = &self.manifest["os_list"][0];
        let (Some(url), Some(wanted)) = (
            entry["url"].as_str(),
            entry["image_download_sha256"].as_str(),
        ) else {
            return;
        };
        let encoded = url.rsplit('/').next().unwrap_or(url);
        let name = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy();
        if let Some(sum) = sums.get(&*name) {
            let what = format!("what it says of {name}");
            verified.add(
                &format!("{stem}.rpi-imager-manifest"),
                what,
                same(wanted, sum),
            );
        }
    }
}

/// Reads the raw image out of the form `name`, once, and compares it with all that is said of it.
fn raw(dir: &Path, stem: &str, name: &str, said: &Said, verified: &mut Verified) -> Result<()> {
    let path = dir.join(name);
    let map_name = format!("{stem}.bmap");
    let map = match bmap::load(&dir.join(&map_name)) {
        Ok(map) => Some(map),
        Err(error) if dir.join(&map_name).exists() => {
            verified.add(
                &map_name,
                "it is a block map",
                Err(format!("{:#}", error.root_cause())),
            );
            None
        }
        Err(_) => None,
    };
    let mut checker = map.as_ref().map(|map| Checker::new(&map.ranges, map.sums));
    let mut map_fault = None;
    let read = Packed::open(&path, false).and_then(|packed| {
        packed.with(|from| {
            let (mut hash, mut at, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
            loop {
                let n = fill(from, &mut buffer)?;
                if n == 0 {
                    return Ok((hex::encode(hash.finalize()), at));
                }
                hash.update(&buffer[..n]);
                if let (Some(checker), None) = (&mut checker, &map_fault) {
                    map_fault = checker.feed(at, &buffer[..n]).err();
                }
                at += n as u64;
            }
        })
    });
    let (sum, size) = match read {
        Ok(read) => read,
        Err(error) => {
            verified.add(name, "it can be unpacked", Err(format!("{error:#}")));
            return Ok(());
        }
    };
    for (file, wanted) in &said.raw {
        verified.add(
            file,
            format!("what it says of the image in {name}"),
            same(wanted, &sum),
        );
    }
    if let Some(map) = map {
        let result = match map_fault {
            Some(fault) => Err(format!("{fault:#}")),
            None if map.size != size => {
                Err(format!("it is of {} bytes, the image has {size}", map.size))
            }
            None => Ok(()),
        };
        verified.add(&map_name, format!("each of its ranges in {name}"), result);
    }
    Ok(())
}
