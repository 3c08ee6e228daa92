//! The build record beside an image, as far as the page shows it (`NAME.build.json`, written by
//! `export/publish`).

use crate::images::image::stem;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Bytes of a record.
const LARGEST: u64 = 16 << 20;

/// Steps that are shown.
const MOST_STEPS: usize = 2000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Record {
    #[serde(default)]
    image: About,
    #[serde(default)]
    pub(super) export_seconds: ExportSeconds,
    /// `null` for an export without a build.
    #[serde(default)]
    build: Option<BuildPart>,
}

#[derive(Debug, Default, Deserialize)]
struct About {
    #[serde(default)]
    raw_size: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ExportSeconds {
    /// Until the raw image was complete, and what was left of the compression then.
    #[serde(default)]
    pub(super) image: f64,
    #[serde(default)]
    pub(super) compression: f64,
}

#[derive(Debug, Default, Deserialize)]
struct BuildPart {
    #[serde(default)]
    timings: Vec<Step>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) step: String,
    /// From begin to end.
    #[serde(default)]
    pub(super) seconds: f64,
    /// Of all processors, and the part of it under emulation.
    #[serde(default)]
    pub(super) processor_seconds: f64,
    #[serde(default)]
    pub(super) emulated_seconds: f64,
    #[serde(default)]
    pub(super) bytes_written: u64,
}

impl Record {
    /// The steps one after another, the export last.
    pub(super) fn steps(&self) -> Vec<Step> {
        let own = self.build.iter().flat_map(|build| &build.timings);
        let mut steps: Vec<Step> = own.take(MOST_STEPS).cloned().collect();
        for (name, seconds) in [
            ("export: image", self.export_seconds.image),
            (
                "export: rest of the compression",
                self.export_seconds.compression,
            ),
        ] {
            steps.push(Step {
                step: name.to_owned(),
                seconds,
                ..Step::default()
            });
        }
        for step in &mut steps {
            for value in [
                &mut step.seconds,
                &mut step.processor_seconds,
                &mut step.emulated_seconds,
            ] {
                // A number that no clock gives.
                if !value.is_finite() || !(0.0..1e9).contains(value) {
                    *value = 0.0;
                }
            }
        }
        steps
    }
}

/// The record beside `image`, whose raw form has `raw_size` bytes; `None` if there is none.
///
/// # Errors
/// When it cannot be read, or is of another image.
pub(super) fn beside(image: &Path, raw_size: u64) -> Result<Option<Record>> {
    let path = image.with_file_name(format!("{}.build.json", stem(image)));
    if fs::symlink_metadata(&path).is_err() {
        return Ok(None);
    }
    let read = || -> Result<Record> {
        let mut bytes = Vec::new();
        File::open(&path)?.take(LARGEST).read_to_end(&mut bytes)?;
        let record: Record = serde_json::from_slice(&bytes)?;
        ensure!(
            record.image.raw_size == raw_size,
            "it is of another image, so the build's time is not shown"
        );
        Ok(record)
    };
    read()
        .map(Some)
        .with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_far_as_it_goes() {
        let text = r#"{"build":{"timings":[{"step":"a","seconds":1e400}]}}"#;
        assert!(serde_json::from_str::<Record>(text).is_err());
        let text = r#"{"build":{"timings":[{"step":"a","seconds":-5},{"step":"b","seconds":2}]}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        let seconds: Vec<f64> = record.steps().iter().map(|step| step.seconds).collect();
        assert_eq!(seconds, [0.0, 2.0, 0.0, 0.0]);
        let nothing: Record = serde_json::from_str(r#"{"build":null}"#).unwrap();
        assert_eq!(nothing.steps().len(), 2);
    }
}
