//! Stage trees and settings for tests.

use crate::config::{Arch, Bootstrap, Compression, Config, Distro};
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

/// Settings of a build of these stages under `root`.
pub(crate) fn config(root: &Path, stages: &[&str]) -> Config {
    let text = |text: &str| text.to_owned();
    Config {
        img_name: text("test"),
        distro: Distro::Debian,
        arch: Arch::Arm64,
        release: text("trixie"),
        mirror: None,
        image_mirror: None,
        apt_proxy: None,
        apt_timeout: 30,
        raspberrypi_mirror: text("http://archive.raspberrypi.com/debian"),
        raspberrypi_key: None,
        raspberrypi_fingerprint: text("CF8A1AF502A2AA2D763BAE7E82B129927FA3303E"),
        raspbian_key: None,
        raspbian_fingerprint: text("A0DA38D0D76E8B5D638872819165938D90FDDD2E"),
        cache_from: None,
        cache_to: None,
        bootstrap: Bootstrap::Mmdebstrap,
        qemu_cpu: None,
        westwork_bin: None,
        stage_list: stages.iter().map(|stage| root.join(stage)).collect(),
        base_dir: root.to_owned(),
        work_dir: root.join("work"),
        min_free: 0,
        deploy_dir: root.join("deploy"),
        cache_dir: root.join("cache"),
        export_config_dir: root.join("export"),
        compression: vec![Compression::Zip],
        compression_level: None,
        deploy_url: None,
        sign_with: None,
        boot_size: 1 << 29,
        root_margin: 0,
        disk: crate::config::Disk::default(),
        target_hostname: text("pi"),
        first_user_name: text("pi"),
        first_user_pass: None,
        disable_first_boot_user_rename: false,
        passwordless_sudo: false,
        wpa_country: None,
        enable_ssh: false,
        pubkey_only_ssh: false,
        pubkey_ssh_first_user: None,
        locale_default: text("en_GB.UTF-8"),
        keyboard_keymap: text("gb"),
        keyboard_layout: text("English (UK)"),
        timezone_default: text("Europe/London"),
        enable_cloud_init: false,
        source_date_epoch: None,
        img_date: text("2025-01-02"),
        img_filename: text("2025-01-02-test"),
        archive_filename: text("image_2025-01-02-test"),
        clean: false,
        resume: false,
        temp_repo: None,
        sources: Vec::new(),
        exports: [(text("FLAVOUR"), text("plain"))].into(),
    }
}
