//! JSON Schemas of what this program writes as JSON, made of the types that write it, and of what it reads.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serializer;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The schema (JSON Schema 2020-12) of what serde writes of a `T`.
pub fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<T>().into()
}

/// The schema of what serde reads as a `T`.
pub fn of_input<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.into_generator().into_root_schema_for::<T>().into()
}

/// Writes a path as people are shown it: what of it is no text counts as U+FFFD.
///
/// # Errors
/// Those of the serializer.
pub(crate) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The same for a path that there need not be.
///
/// # Errors
/// Those of the serializer.
pub(crate) fn path_if_any<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => self::path(path, serializer),
        None => serializer.serialize_none(),
    }
}
