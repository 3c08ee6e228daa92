//! From the raw image to the files in the deploy directory.

mod bmap;
mod compress;
mod copyright;
mod deflate;
mod deploy;
mod dpkg;
mod imager;
mod info;
mod pass;
mod piece;
mod provenance;
mod sbom;

use super::{ExportRequest, Exported};
use crate::base::run::Log;
use crate::config::{Base, Compression};
use crate::export::disk::layout::Identity;
use crate::images::report::{self, Built};
use anyhow::{Context, Result};
use bmap::Bmap;
use compress::Format;
use deploy::Deploy;
pub(crate) use deploy::SUMS;
use serde_json::json;
use std::fs::{self, File};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// The export's place for a raw image: in the deploy directory when it will stay there,
/// so that it is not written twice.
pub(super) fn raw_image(request: &ExportRequest<'_>) -> Result<NamedTempFile> {
    if request.config.compression.contains(&Compression::None) {
        return Deploy::begin(request.deploy_dir)?.create(&artefact(request, Compression::None));
    }
    tempfile::Builder::new()
        .prefix("image.")
        .tempfile_in(request.scratch)
        .with_context(|| format!("making a file in {}", request.scratch.display()))
}

/// Name of the artefact in one format.
fn artefact(request: &ExportRequest<'_>, compression: Compression) -> String {
    let stem = match compression {
        Compression::None => &request.name,
        _ => &request.archive_name,
    };
    format!("{stem}{}", compress::extension(compression))
}

/// A root file system that is still to be made.
pub(super) struct Rest<'a> {
    /// Its first byte in the image.
    pub(super) start: u64,
    pub(super) make: &'a mut dyn FnMut(Log<'_>) -> Result<()>,
}

/// One form of the image.
struct Artefact {
    name: String,
    compression: Compression,
    /// Bytes.
    size: u64,
    /// In hex.
    sha256: String,
}

/// The image in all its forms.
struct Packed {
    /// The raw image, which has no name any more if it is none of the artefacts.
    raw: File,
    artefacts: Vec<Artefact>,
    /// Bytes of the raw image.
    raw_size: u64,
    /// In hex.
    raw_sha256: String,
    bmap: Bmap,
    /// How long the raw image took, and what was left of the compression then.
    assembled: Duration,
    compressed: Duration,
}

/// Makes the `rest` of the image, compresses the image of `raw_size` bytes meanwhile and
/// puts everything into the deploy directory. `began` is when the export began.
pub(super) fn publish(
    request: &ExportRequest<'_>,
    raw_size: u64,
    image: NamedTempFile,
    rest: Rest<'_>,
    began: Instant,
    log: Log<'_>,
) -> Result<Exported> {
    let mut deploy = Deploy::begin(request.deploy_dir)?;
    let packed = pack(request, raw_size, image, rest, began, &mut deploy, log)?;
    describe(request, &packed, &mut deploy)?;
    for path in &request.beside {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let contents = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        deploy.file(name.into_owned(), contents)?;
    }
    deploy.file(
        beside(request, deploy::MANIFEST),
        &manifest(request, &packed)?,
    )?;
    prove(request, &packed, &mut deploy)?;
    deploy.file(beside(request, deploy::RECORD), &record(request, &packed)?)?;
    if request.config.deploy_report {
        deploy.file(beside(request, deploy::PAGE), &page(request, &packed)?)?;
    }
    let (files, shared) = deploy.publish(
        &[&request.name, &request.archive_name],
        request.config.sign_with.as_ref(),
        request.source_date_epoch,
    )?;
    Ok(Exported {
        files,
        shared,
        raw_size,
        raw_sha256: packed.raw_sha256,
    })
}

/// Name of a file beside the artefacts.
fn beside(request: &ExportRequest<'_>, extension: &str) -> String {
    format!("{}{extension}", request.name)
}

/// Makes the `rest` of the image and every form of it, which `deploy` gets.
fn pack(
    request: &ExportRequest<'_>,
    raw_size: u64,
    image: NamedTempFile,
    rest: Rest<'_>,
    began: Instant,
    deploy: &mut Deploy,
    log: Log<'_>,
) -> Result<Packed> {
    let formats = request.config.compression.iter();
    let names: Vec<String> = formats.map(|f| artefact(request, *f)).collect();
    log(&format!("compressing to {}", names.join(", ")));
    let source = File::open(image.path()).context("opening the image")?;
    let member = format!("{}.img", request.name);
    let (files, outputs) = outputs(request, &names, &member, deploy)?;
    let mut assembled = Duration::ZERO;
    let rest = pass::Rest {
        start: rest.start,
        make: &mut || {
            (rest.make)(log)?;
            assembled = began.elapsed();
            if request.config.compression.contains(&Compression::None) {
                begin_sync(&source)?;
            }
            Ok(())
        },
    };
    let passed = pass::run(&source, raw_size, outputs, rest)?;
    let compressed = began.elapsed();
    let mut image = Some(image);
    let mut packed = passed.packed.into_iter().zip(files);
    let mut artefacts = Vec::new();
    for (compression, name) in request.config.compression.iter().zip(names) {
        let (file, size, sha256) = if *compression == Compression::None {
            (image.take(), raw_size, passed.raw_sha256.clone())
        } else {
            let (packed, file) = packed.next().context("matching artefacts to their files")?;
            (Some(file), packed.size, packed.sha256)
        };
        if let Some(file) = file {
            deploy.add(file, name.clone(), sha256.clone());
        }
        let compression = *compression;
        artefacts.push(Artefact {
            name,
            compression,
            size,
            sha256,
        });
    }
    Ok(Packed {
        raw: source,
        artefacts,
        raw_size,
        raw_sha256: passed.raw_sha256,
        bmap: passed.bmap,
        assembled,
        compressed: compressed.saturating_sub(assembled),
    })
}

/// Begins to bring the image to the disk. The deploy directory waits for that later, and then not
/// for long; it sees any error, too.
fn begin_sync(image: &File) -> Result<()> {
    let image = image.try_clone().context("opening the image once more")?;
    std::thread::spawn(move || image.sync_data());
    Ok(())
}

/// A file of `deploy` for each compressed form, and how it is written.
#[allow(clippy::type_complexity, reason = "two lists that belong together")]
fn outputs<'a>(
    request: &ExportRequest<'_>,
    names: &[String],
    member: &'a str,
    deploy: &mut Deploy,
) -> Result<(Vec<NamedTempFile>, Vec<(File, Format<'a>)>)> {
    let threads = match request.config.compression_threads {
        Some(count) => usize::try_from(count).context("counting threads")?,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (mut files, mut outputs) = (Vec::new(), Vec::new());
    for (compression, name) in request.config.compression.iter().zip(names) {
        if *compression == Compression::None {
            continue;
        }
        let file = deploy.create(name)?;
        let format = Format {
            compression: *compression,
            level: request.config.compression_level,
            member,
            epoch: request.source_date_epoch,
            arch: request.config.arch,
            threads,
        };
        outputs.push((file.reopen().context("opening the artefact")?, format));
        files.push(file);
    }
    Ok((files, outputs))
}

/// The block map, the `.info` text and the bills of materials.
fn describe(request: &ExportRequest<'_>, packed: &Packed, deploy: &mut Deploy) -> Result<()> {
    let packages = dpkg::packages(request.rootfs)?;
    let facts = info::Facts {
        name: &request.name,
        release: &request.config.release,
        architecture: request.config.arch.debian(),
        raw_size: packed.raw_size,
        raw_sha256: &packed.raw_sha256,
        origin: &request.info_lines,
    };
    deploy.file(beside(request, deploy::BMAP), packed.bmap.to_xml())?;
    deploy.file(beside(request, deploy::INFO), info::info(&facts, &packages))?;
    let identity = Identity::new(request.source_date_epoch, &request.name);
    let subject = sbom::Subject {
        name: &request.name,
        identity: &identity,
        epoch: request.source_date_epoch,
        base: Base::of(request.config.distro, request.config.arch),
        release: &request.config.release,
        raw_sha256: &packed.raw_sha256,
    };
    let licences = sbom::licences(request.rootfs, &packages);
    let spdx = sbom::spdx(&subject, &packages, &licences)?;
    deploy.file(beside(request, deploy::SPDX), &spdx)?;
    let cyclonedx = sbom::cyclonedx(&subject, &packages, &licences)?;
    deploy.file(beside(request, deploy::CYCLONEDX), &cyclonedx)
}

/// The Imager's manifest, for the form that most versions of Imager can read.
fn manifest(request: &ExportRequest<'_>, packed: &Packed) -> Result<String> {
    let best = packed
        .artefacts
        .iter()
        .max_by_key(|artefact| imager::preference(artefact.compression))
        .context("exporting to no format at all")?;
    let dir = std::path::absolute(request.deploy_dir).context("finding the deploy directory")?;
    imager::manifest(&imager::ManifestEntry {
        name: &request.name,
        release: &request.config.release,
        arch: request.config.arch,
        distro: request.config.distro,
        artefact: &best.name,
        artefact_size: best.size,
        artefact_sha256: &best.sha256,
        bmap: &beside(request, deploy::BMAP),
        raw_size: packed.raw_size,
        raw_sha256: &packed.raw_sha256,
        epoch: request.source_date_epoch,
        init_format: request.init_format,
        url: request.config.deploy_url.as_deref(),
        dir: &dir,
    })
}

/// The statement about how all this was made, and its signature. The build record and the page are not
/// part of it: the one has times, the other is made of the image.
fn prove(request: &ExportRequest<'_>, packed: &Packed, deploy: &mut Deploy) -> Result<()> {
    let mut subjects = deploy.sums_so_far();
    let raw = format!("{}.img", request.name);
    if subjects.iter().all(|(name, _)| *name != raw) {
        subjects.push((raw, packed.raw_sha256.clone()));
    }
    let statement = provenance::statement(&provenance::Facts {
        subjects,
        name: &request.name,
        config: request.config,
        epoch: request.source_date_epoch,
        record: &request.record,
    })?;
    if let Some(signer) = &request.config.sign_with {
        if let Some(envelope) = provenance::envelope(&statement, signer)? {
            deploy.file(beside(request, deploy::ENVELOPE), envelope)?;
        }
    }
    deploy.file(beside(request, deploy::PROVENANCE), statement)
}

/// The page about the image. It has no times: they are in the build record.
fn page(request: &ExportRequest<'_>, packed: &Packed) -> Result<String> {
    let artefacts: Vec<(&str, &str)> = packed
        .artefacts
        .iter()
        .filter(|artefact| artefact.compression != Compression::None)
        .map(|artefact| (artefact.name.as_str(), artefact.sha256.as_str()))
        .collect();
    let file = packed
        .raw
        .try_clone()
        .context("opening the image once more")?;
    report::of_build(Built {
        name: &request.name,
        file,
        artefacts: &artefacts,
        raw_sha256: &packed.raw_sha256,
    })
    .context("writing the page about the image")
}

/// The build record.
fn record(request: &ExportRequest<'_>, packed: &Packed) -> Result<String> {
    let artefact = |artefact: &Artefact| {
        let Artefact {
            name, size, sha256, ..
        } = artefact;
        json!({"name": name, "size": size, "sha256": sha256})
    };
    let record = json!({
        "image": {
            "name": request.name,
            "architecture": request.config.arch.debian(),
            "release": request.config.release,
            "source_date_epoch": request.source_date_epoch,
            "raw_size": packed.raw_size,
            "raw_sha256": packed.raw_sha256,
            "data_size": packed.bmap.mapped() * bmap::BLOCK,
        },
        "artefacts": packed.artefacts.iter().map(artefact).collect::<Vec<_>>(),
        "export_seconds": {
            "image": packed.assembled.as_secs_f64(),
            "compression": packed.compressed.as_secs_f64(),
        },
        "build": request.record,
    });
    let mut record = serde_json::to_string_pretty(&record).context("writing the build record")?;
    record.push('\n');
    Ok(record)
}
