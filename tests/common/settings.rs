//! Settings as a config with no more than a name gives them.

use std::collections::BTreeMap;
use std::path::Path;
use westwork_gen::config::{Compression, Config, ConfigRequest};

/// For arm64 and trixie, with the image itself as the only artefact. What a test needs otherwise it
/// sets.
pub(crate) fn settings() -> Config {
    let keys = [
        "IMG_NAME=test",
        "STAGE_LIST=/",
        "RELEASE=trixie",
        "ARCH=arm64",
    ];
    let loaded = Config::load(&ConfigRequest {
        cwd: Path::new("/").to_owned(),
        files: Vec::new(),
        set: keys.map(str::to_owned).to_vec(),
        env: BTreeMap::new(),
    });
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    Config {
        compression: vec![Compression::None],
        boot_size: 40 << 20,
        ..loaded.config.unwrap()
    }
}
