//! The raw bytes of an image, whatever form it comes in.

mod form;
mod member;

use crate::base::problem::{Problem, Problems};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) use form::Form;

/// An image file, and how it is packed.
pub(crate) struct Packed {
    path: PathBuf,
    pub(crate) form: Form,
    /// Place of the image in a zip.
    member: usize,
    /// Whether anything counts as an image.
    insist: bool,
}

impl Packed {
    /// Looks at the file at `path`; with `insist`, what is unknown counts as a raw image.
    ///
    /// # Errors
    /// [`Problems`] when it is something else than an image.
    pub(crate) fn open(path: &Path, insist: bool) -> Result<Self> {
        let mut head = [0; form::LOOKED_AT];
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let n =
            fill(&mut file, &mut head).with_context(|| format!("reading {}", path.display()))?;
        let head = &head[..n];
        let form = match form::form_of(path, head) {
            Err(_) if insist => Form::Raw,
            form => form?,
        };
        let member = match form {
            Form::Zip => member::choose(path, &file)?,
            _ => 0,
        };
        Ok(Self {
            path: path.to_owned(),
            form,
            member,
            insist,
        })
    }

    /// Calls `work` with a reader of the raw image. What is packed twice is unpacked twice.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        let file =
            File::open(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
        match self.form {
            Form::Raw => work(&mut &file),
            Form::Zip => {
                let mut archive = member::open(&self.path, &file)?;
                let mut member = member::unpack(&self.path, &mut archive, self.member)?;
                self.inner(&mut member, work)
            }
            form => self.inner(&mut *unpacker(form, &file)?, work),
        }
    }

    /// Looks at what was unpacked, and unpacks it once more if need be.
    fn inner<T>(
        &self,
        reader: &mut dyn Read,
        work: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        let (head, mut reader) = peek(reader)?;
        match form::by_content(&head) {
            Some(form @ (Form::Zst | Form::Xz | Form::Gz)) => {
                let mut unpacked = unpacker(form, &mut reader)?;
                let (head, mut unpacked) = peek(&mut *unpacked)?;
                let again =
                    form::by_content(&head).map(|_| ("packed once more", "unpack it first"));
                self.refuse(again.or_else(|| form::foreign(&head)))?;
                work(&mut unpacked)
            }
            Some(_) => {
                self.refuse(Some(("a zip within the zip", "unpack it first")))?;
                work(&mut reader)
            }
            None => {
                self.refuse(form::foreign(&head))?;
                work(&mut reader)
            }
        }
    }

    fn refuse(&self, found: Option<(&str, &str)>) -> Result<()> {
        let Some((what, remedy)) = found.filter(|_| !self.insist) else {
            return Ok(());
        };
        let problem = Problem::new(format!("what it holds is {what}"), remedy).at(&self.path);
        Err(Problems(vec![problem]).into())
    }

    /// Bytes of the raw image, if its file says so without being unpacked.
    pub(crate) fn raw_size(&self) -> Result<Option<u64>> {
        let path = &self.path;
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        match self.form {
            Form::Raw => super::disk::size(&file).map(Some),
            Form::Zip => {
                let mut archive = member::open(path, &file)?;
                let mut member = member::unpack(path, &mut archive, self.member)?;
                let size = member.size();
                let (head, _) = peek(&mut member)?;
                // What is packed within it says nothing.
                Ok(form::by_content(&head).is_none().then_some(size))
            }
            // gzip's is modulo 4 GiB, and zstd's only that of the first frame.
            Form::Zst | Form::Gz | Form::Xz => Ok(None),
        }
    }
}

/// Says that `result` comes of unpacking the image at `path`, unless it says what to do.
pub(crate) fn unpacking<T>(result: Result<T>, path: &Path) -> Result<T> {
    let full = |error: &anyhow::Error| {
        let cause = error.downcast_ref::<std::io::Error>();
        cause.is_some_and(|error| error.kind() == ErrorKind::StorageFull)
    };
    match result {
        Err(error) if full(&error) => {
            let remedy = "free some on the disk that the image is on, or move it to another one";
            let problem = Problem::new("there is no room for the unpacked image", remedy);
            Err(Problems(vec![problem.at(path)]).into())
        }
        Err(error) if !error.is::<Problems>() => {
            Err(error.context(format!("unpacking {}", path.display())))
        }
        result => result,
    }
}

/// A reader of what `source` has in packed form.
fn unpacker<'a>(form: Form, source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    Ok(match form {
        Form::Zst => Box::new(zstd::Decoder::new(source).context("reading zstd")?),
        Form::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(source)),
        Form::Gz => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Form::Raw | Form::Zip => Box::new(source),
    })
}

/// The first bytes of `reader`, and a reader of all of it.
fn peek(reader: &mut dyn Read) -> Result<(Vec<u8>, impl Read)> {
    let mut head = vec![0; form::LOOKED_AT];
    let n = fill(reader, &mut head).context("unpacking the image")?;
    head.truncate(n);
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Reads until `buffer` is full or the end is reached. Returns the bytes read.
pub(crate) fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match from.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

/// Copies `from` to the empty `to`, leaving holes where 64 KiB are zero. Returns the bytes.
pub(crate) fn write_sparse(from: &mut dyn Read, to: &mut File) -> Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let n = fill(from, &mut buffer)?;
        if n == 0 {
            break;
        }
        if !is_zero(&buffer[..n]) {
            to.write_all_at(&buffer[..n], size)
                .context("writing the unpacked image")?;
        }
        size += n as u64;
    }
    to.set_len(size).context("sizing the unpacked image")?;
    to.flush()?;
    Ok(size)
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // One comparison of the whole with itself, shifted: memcmp's speed.
    bytes.is_empty() || (bytes[0] == 0 && bytes[1..] == bytes[..bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let full = Err::<(), _>(std::io::Error::from(ErrorKind::StorageFull));
        let full = full.context("writing the unpacked image");
        let said = unpacking(full, Path::new("a.img.zst")).unwrap_err();
        let said = said.to_string();
        assert!(said.starts_with("a.img.zst: there is no room"), "{said}");
        assert!(said.contains("; free some on the disk"), "{said}");
    }

    #[test]
    fn zeros_are_told_from_what_only_begins_or_ends_so() {
        assert!(is_zero(&[]) && is_zero(&[0]) && is_zero(&[0; 9]));
        assert!(
            !is_zero(&[1]) && !is_zero(&[0, 0, 1]) && !is_zero(&[1, 0, 0]) && !is_zero(&[7; 9])
        );
    }
}
