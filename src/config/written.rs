//! Judged values as text again, the way a config has them.

use super::{Address, Arch, Bootstrap, Compression, Disk, Distro, HostPath, Signer};
use std::path::{Path, PathBuf};

/// A value that can be written as text.
pub(super) trait Written {
    /// `None` when it is not set.
    fn written(&self) -> Option<String>;
}

impl Written for String {
    fn written(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Written for bool {
    fn written(&self) -> Option<String> {
        Some(if *self { "1" } else { "0" }.to_owned())
    }
}

impl Written for PathBuf {
    fn written(&self) -> Option<String> {
        Some(self.to_string_lossy().into_owned())
    }
}

impl<T: Written> Written for Option<T> {
    fn written(&self) -> Option<String> {
        self.as_ref().and_then(Written::written)
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Written for $type {
            fn written(&self) -> Option<String> {
                Some(self.to_string())
            }
        })*
    };
}

numbers!(u8 u32 u64 i64);

impl Written for Arch {
    fn written(&self) -> Option<String> {
        Some(self.debian().to_owned())
    }
}

impl Written for Distro {
    fn written(&self) -> Option<String> {
        Some(self.word().to_owned())
    }
}

impl Written for Bootstrap {
    fn written(&self) -> Option<String> {
        Some(self.word().to_owned())
    }
}

impl Written for Vec<Compression> {
    fn written(&self) -> Option<String> {
        Some(Compression::words(self))
    }
}

impl Written for Vec<PathBuf> {
    fn written(&self) -> Option<String> {
        Some(joined(self.iter().map(|path| shown(path))))
    }
}

impl Written for Vec<HostPath> {
    fn written(&self) -> Option<String> {
        let word = |entry: &HostPath| {
            let mark = if entry.writable { ":rw" } else { "" };
            format!("{}{mark}", shown(&entry.path))
        };
        Some(joined(self.iter().map(word)))
    }
}

impl Written for Address {
    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Written for Signer {
    fn written(&self) -> Option<String> {
        Some(match self {
            Self::Minisign(file) => format!("minisign:{}", shown(file)),
            Self::Gpg(key) => format!("gpg:{key}"),
        })
    }
}

impl Written for Disk {
    /// All four keys of it, for comparison.
    fn written(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}
