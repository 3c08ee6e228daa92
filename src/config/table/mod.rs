//! The table of settings: a row a key. What the program knows of a key stands here and nowhere
//! else; [`Config`], the scripts' environment, the keys of layers and images, the build record,
//! config.example, docs/config.md, the schema of config.toml and build-docker.sh's mounts are made
//! from it.
//!
//! A row is
//!
//! ```text
//! /// What the key means, for people; it is also the documentation of the field.
//! KEY field: Type = |reader| its judged value;
//! { facts }
//! ```

#[macro_use]
mod artefacts;
#[macro_use]
mod build;
#[macro_use]
mod device;
#[macro_use]
mod image;
mod words;

use super::choices::{cache, device_program, signer};
use super::names::{archive_name, day, image_name, required_name};
use super::nearest::nearest_of;
use super::reader::Reader;
use super::row::{Bearing, Facts, Field, Group, Kind, Mount, Row, Scripts, Secrecy, text_of};
use super::variables::Variable;
use super::{Address, Arch, Bootstrap, Compression, Disk, Distro, HostPath, Signer};
use super::{choices, disk, host_paths, lists, people, tree, values};
use crate::base::releases;
use std::collections::BTreeMap;
use std::path::PathBuf;

macro_rules! define {
    (() $(
        $(#[doc = $help:literal])+
        $key:ident $field:ident: $type:ty = $read:expr;
        { $($facts:tt)* }
    )*) => {
        /// Everything the user may choose. Made by `Config::load`, never changed afterwards. Sizes
        /// are bytes, paths are absolute.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $help])+ pub $field: $type,)*
            /// Files the settings were read from, in order.
            pub sources: Vec<PathBuf>,
            /// Variables the config itself exported, and keys that only scripts read; passed on as
            /// they are.
            pub exports: BTreeMap<String, String>,
            /// What stages say of variables of theirs; their values are in `exports`.
            pub variables: Vec<Variable>,
            /// Stages of the program's own that only stand below others: no images are made of them.
            pub only_below: Vec<PathBuf>,
            /// What a user should know of the settings although it does not stand in the way.
            pub notes: Vec<String>,
        }

        /// Keys that have a field of their own.
        static FIELDS: &[Row] = &[$(Row {
            name: stringify!($key),
            help: &[$($help),+],
            facts: Facts { $($facts)* },
            field: Some(Field {
                name: stringify!($field),
                text: |config| text_of(&config.$field),
                typed: |config| serde_json::json!(config.$field),
            }),
        }),*];

        /// Judges every key, in the table's order.
        pub(super) fn read(
            reader: &mut Reader<'_>,
            sources: Vec<PathBuf>,
            exports: BTreeMap<String, String>,
            notes: Vec<String>,
        ) -> Config {
            Config {
                $($field: {
                    let read: fn(&mut Reader<'_>) -> $type = $read;
                    read(reader.at(stringify!($key)))
                },)*
                sources,
                exports,
                variables: Vec::new(),
                only_below: Vec::new(),
                notes,
            }
        }
    };
}

image_rows! { (device_rows build_rows artefact_rows define) }

/// All rows.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    FIELDS.iter().chain(words::WORDS)
}

/// The row of a key.
pub fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

/// Whether a value of `name` means something to this program or its stages.
pub(super) fn is_known(name: &str) -> bool {
    row(name).is_some()
}

/// The known key that `name` was probably meant to be.
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, rows().map(|row| row.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        assert_eq!(nearest("DEPLOY_COMPRESION"), Some("DEPLOY_COMPRESSION"));
        assert_eq!(nearest("IMGNAME"), Some("IMG_NAME"));
        assert_eq!(nearest("MY_OWN_SETTING"), None);
    }

    #[test]
    fn no_key_has_two_rows() {
        let names: BTreeSet<_> = rows().map(|row| row.name).collect();
        assert_eq!(names.len(), rows().count());
    }
}
