//! Checksums that the exporter recorded beside an image.

use serde::Serialize;
use std::fs;
use std::path::Path;

#[derive(Debug, Serialize)]
pub(crate) struct Sum {
    /// `artefact`: of the file as it is; `raw`: of the unpacked image.
    pub(crate) of: &'static str,
    /// SHA-256 in hex.
    pub(crate) sha256: String,
    /// Name of the file that says so.
    pub(crate) recorded_in: String,
}

/// What `NAME.sha256`, `SHA256SUMS` and `NAME.rpi-imager-manifest` beside `image` say.
pub(super) fn recorded(image: &Path) -> Vec<Sum> {
    let mut sums = Vec::new();
    let Some(name) = image
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
    else {
        return sums;
    };
    for list in [format!("{name}.sha256"), "SHA256SUMS".to_owned()] {
        let text = fs::read_to_string(image.with_file_name(&list)).unwrap_or_default();
        let found = text.lines().find_map(|line| {
            let (sum, file) = line.split_once(char::is_whitespace)?;
            (file.trim_start_matches([' ', '*']) == name && sum.len() == 64).then(|| sum.to_owned())
        });
        sums.extend(found.map(|sha256| Sum {
            of: "artefact",
            sha256,
            recorded_in: list,
        }));
    }
    let stem = crate::images::image::stem(image);
    let manifest = image.with_file_name(format!("{stem}.rpi-imager-manifest"));
    let raw = fs::read(&manifest).ok().and_then(|text| {
        let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(json["os_list"][0]["extract_sha256"].as_str()?.to_owned())
    });
    sums.extend(raw.map(|sha256| Sum {
        of: "raw",
        sha256,
        recorded_in: format!("{stem}.rpi-imager-manifest"),
    }));
    sums
}
