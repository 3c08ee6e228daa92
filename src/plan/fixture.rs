//! Stage trees and settings for tests.

use crate::config::{Config, ConfigRequest};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// Makes files in a temporary directory; those that begin with `#!` are executable.
pub(crate) fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    dir
}

/// Settings of a build of these stages under `root`: the defaults, and a name.
pub(crate) fn config(root: &Path, stages: &[&str]) -> Config {
    let set = [
        "IMG_NAME=test",
        "IMG_DATE=2025-01-02",
        "ARCHIVE_FILENAME=image_2025-01-02-test",
        "DEPLOY_COMPRESSION=zip",
        "FIRST_USER_NAME=pi",
        "TARGET_HOSTNAME=pi",
        "CACHE_DIR=cache",
        "MIN_FREE=0",
        "EXPORT_CONFIG_DIR=export",
    ];
    let loaded = Config::load(&ConfigRequest {
        cwd: root.to_owned(),
        set: set.map(str::to_owned).into(),
        ..ConfigRequest::default()
    });
    // What is missing in the tree is the test's own business.
    let config = loaded.config.unwrap();
    Config {
        stage_list: stages.iter().map(|stage| root.join(stage)).collect(),
        base_dir: root.to_owned(),
        exports: [("FLAVOUR".to_owned(), "plain".to_owned())].into(),
        ..config
    }
}
