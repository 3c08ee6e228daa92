//! Where a shared cache is: a folder here, an object store elsewhere.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Schemes of object stores, as their own tools write them.
const REMOTE: &[&str] = &["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "https"];

/// Plain HTTP has to be asked for by this name: on such a line anybody can exchange layers, and
/// with them what is in the image.
const PLAIN: &str = "insecure+http";

/// A judged address of a shared cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// Absolute.
    Folder(PathBuf),
    /// An object store, by its URL.
    Url(String),
}

impl Address {
    /// Whether what goes to and from it can be read and changed on the way.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Url(url) if url.starts_with("http://"))
    }

    /// Reads a path, relative to `cwd`, or a URL.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn parse(text: &str, cwd: &Path) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(cwd.join(text)));
        };
        if scheme == "file" {
            return Ok(Self::Folder(cwd.join(rest)));
        }
        if scheme == "http" {
            return Err(format!(
                "http:// is not encrypted, so anybody on the way can change what is in the image; \
                 use https://, or {PLAIN}://{rest} where nobody else is on the way"
            ));
        }
        if scheme != PLAIN && !REMOTE.contains(&scheme) {
            return Err(format!(
                "\"{scheme}\" is no kind of cache; use a folder, or one of {}://",
                REMOTE.join("://, ")
            ));
        }
        if !cfg!(feature = "remote-cache") {
            return Err("this westwork-gen was compiled without object stores; \
                 use a folder, or compile it with --features remote-cache"
                .to_owned());
        }
        let url = text.strip_prefix("insecure+").unwrap_or(text);
        Ok(Self::Url(url.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Url(url) => write!(f, "{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_folder_or_a_known_kind_of_store() {
        let parse = |text: &str| Address::parse(text, Path::new("/here"));
        assert_eq!(parse("c").unwrap(), Address::Folder("/here/c".into()));
        assert_eq!(parse("file:///c").unwrap(), Address::Folder("/c".into()));
        assert!(
            parse("ftp://x/y")
                .unwrap_err()
                .contains("\"ftp\" is no kind")
        );
        let http = parse("http://192.0.2.1/c").unwrap_err();
        assert!(http.contains("insecure+http://192.0.2.1/c"), "{http}");
        let plain = parse("insecure+http://192.0.2.1/c");
        if cfg!(feature = "remote-cache") {
            let url = Address::Url("http://192.0.2.1/c".into());
            assert!(url.is_plain());
            assert_eq!(plain, Ok(url));
        }
        let s3 = parse("s3://bucket/prefix");
        assert_eq!(s3.is_ok(), cfg!(feature = "remote-cache"));
    }
}
