//! What a build, or another command that works with layers, sees of the machine.

use crate::archives::keyring::Signed;
use crate::base::command::own_program;
use crate::base::tool;
use crate::config::{Address, Config, Signer};
use crate::layers::store::SAME_IDS;
use crate::sandbox;
use crate::sandbox::view::{Access, View};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Variables in which object stores' own tools name a file with credentials.
#[cfg(feature = "remote-cache")]
const CREDENTIALS: [&str; 4] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

/// The machine's programs; the tree and the files that the config names; WORK_DIR, CACHE_DIR and
/// DEPLOY_DIR, which are made if they are not there.
///
/// # Errors
/// When one of them cannot be made or found.
pub(super) fn view(config: &Config, stages: &[&Path]) -> Result<View> {
    let mut view = View::of_machine();
    view.see(&config.base_dir, Access::Write)?;
    for dir in [&config.work_dir, &config.cache_dir, &config.deploy_dir] {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        view.see(dir, Access::Write)?;
    }
    let read = stages
        .iter()
        .map(|dir| dir.to_path_buf())
        .chain([config.export_config_dir.clone(), own_program()?])
        .chain(
            Signed::of(config)
                .into_iter()
                .filter_map(|signed| signed.known(config)),
        )
        .chain(config.westwork_bin.clone())
        .chain(tool::emulator(config.arch));
    for path in read {
        // By where it really is: a stage of the tree may be a link to one elsewhere.
        let Ok(real) = path.canonicalize() else {
            continue;
        };
        if !view.shows(&real) {
            view.see(&path, Access::Read)?;
        }
    }
    for host in &config.host_paths {
        let access = if host.writable {
            Access::Write
        } else {
            Access::Read
        };
        view.see(&host.path, access)?;
    }
    for path in signers_own(config) {
        view.see(&path, Access::Write)?;
    }
    shared_caches(config, &mut view)?;
    #[cfg(feature = "remote-cache")]
    for path in CREDENTIALS
        .iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from)
    {
        if path.is_absolute() && path.exists() {
            view.see(&path, Access::Read)?;
        }
    }
    Ok(view)
}

/// Folders that other machines share.
fn shared_caches(config: &Config, view: &mut View) -> Result<()> {
    for address in [&config.cache_from, &config.cache_to] {
        if let Some(Address::Folder(dir)) = address {
            if address == &config.cache_to {
                // One that cannot be made is told of when it is used.
                let _ = fs::create_dir_all(dir);
            }
            if dir.exists() && !view.shows(dir) {
                view.see(dir, Access::Write)?;
            }
        }
    }
    Ok(())
}

/// What the one who signs needs: a key's file, or gpg's own directories.
fn signers_own(config: &Config) -> Vec<PathBuf> {
    let paths = match &config.sign_with {
        None => Vec::new(),
        Some(Signer::Minisign(key)) => vec![key.clone()],
        Some(Signer::Gpg(_)) => {
            let home = std::env::var_os("GNUPGHOME")
                .map(PathBuf::from)
                .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".gnupg")));
            let agent = format!("/run/user/{}/gnupg", nix::unistd::getuid());
            home.into_iter().chain([agent.into()]).collect()
        }
    };
    paths.into_iter().filter(|path| path.exists()).collect()
}

/// Whose ids the owners in layers will be, for those who look at layers and make none.
///
/// # Errors
/// When this process's own ids cannot be read.
pub(super) fn ids(config: &Config) -> Result<String> {
    let mut view = View::default();
    if !config.work_dir.is_dir() {
        return Ok(SAME_IDS.to_owned());
    }
    view.see(&config.work_dir, Access::Write)?;
    sandbox::owners_on_disk(&view)
}
