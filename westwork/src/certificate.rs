//! The certificate: a self-signed one to begin with, and `westwork certificate`, which in normal
//! use asks for Let's Encrypt's and renews either.
//!
//! certbot answers the challenge through nginx, which serves `/data/acme` below
//! `/.well-known/acme-challenge/`. Until it succeeds, the certificate in use stays.

use crate::render::remove_tree;
use crate::root::{Root, make_directory, sync_directory, write_file};
use crate::services;
use crate::settings::{Certificate, Settings};
use crate::setup::remove_file;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

const OPENSSL: &str = "/usr/bin/openssl";
const NAMES: [&str; 2] = ["privkey.pem", "fullchain.pem"];
/// Days that the self-signed certificate is good for: devices take no longer one.
const DAYS: &str = "800";
/// It is renewed when this many seconds are left: 30 days.
const LEFT: &str = "2592000";

/// Asks for or renews the certificate; says what it did.
pub fn update(root: &Root) -> Result<&'static str> {
    let settings = Settings::load(root)?;
    let _lock = root.lock()?;
    let renewed = renew_self_signed(root, &settings)?;
    let Certificate::LetsEncrypt { email, staging } = &settings.certificate else {
        return Ok(if renewed {
            "a new self-signed certificate is in use"
        } else {
            "the self-signed certificate is good for another 30 days; nothing to do"
        });
    };
    let (webroot, store) = (root.path("/data/acme"), root.path("/data/conf/letsencrypt"));
    make_directory(&webroot, 0o755)?;
    let domain = settings.domain.as_str();
    let mut certbot = root
        .program("/usr/bin/certbot")
        .args([
            "certonly",
            "--non-interactive",
            "--agree-tos",
            "--keep-until-expiring",
            "--webroot",
            "--cert-name",
            domain,
            "-d",
            domain,
        ])
        .args(["-m", email])
        .arg("-w")
        .arg(webroot)
        .arg("--config-dir")
        .arg(store);
    if *staging {
        certbot = certbot.arg("--staging");
    }
    certbot.run().context("asking Let's Encrypt")?;
    use_certificate(root, &format!("/data/conf/letsencrypt/live/{domain}"))?;
    services::reload_certificate_users(root)?;
    Ok("Let's Encrypt's certificate is in use")
}

/// Makes a new self-signed certificate where one is in use that is about to end, or none that is
/// there.
fn renew_self_signed(root: &Root, settings: &Settings) -> Result<bool> {
    let link = root.path("/data/conf/tls/fullchain.pem");
    let own = std::fs::read_link(&link).is_ok_and(|target| target.starts_with("self-signed"));
    let good = |root: &Root| -> Result<bool> {
        let check = root
            .program(OPENSSL)
            .args(["x509", "-noout", "-checkend", LEFT, "-in"]);
        Ok(check.arg(&link).outcome()?.success)
    };
    if link.exists() && (!own || good(root)?) {
        return Ok(false);
    }
    self_signed(root, settings)?;
    services::reload_certificate_users(root)?;
    Ok(true)
}

/// A certificate of this box for its name, and for nothing else: who trusts it trusts no other
/// that its key has signed.
pub(crate) fn self_signed(root: &Root, settings: &Settings) -> Result<()> {
    let tls = root.path("/data/conf/tls");
    let next = tls.join(".next");
    make_directory(&tls, 0o755)?;
    remove_tree(&next)?;
    make_directory(&next, 0o700)?;
    let [key, certificate] = NAMES.map(|name| next.join(name));
    // The name is in the extension: a common name ends at 64 characters.
    let request = next.join("request");
    let text = format!(
        "[req]\ndistinguished_name = name\nx509_extensions = server\nprompt = no\n\
         [name]\nCN = Westwork\n\
         [server]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
         extendedKeyUsage = serverAuth\nsubjectKeyIdentifier = hash\nsubjectAltName = DNS:{}\n",
        settings.domain.as_str()
    );
    write_file(&request, 0o600, text.as_bytes())?;
    root.program(OPENSSL)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-noenc", "-days", DAYS])
        .arg("-config")
        .arg(&request)
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .run()
        .context("making a certificate")?;
    remove_file(&request)?;
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600))
        .context("protecting the key")?;
    let made = tls.join("self-signed");
    remove_tree(&made)?;
    std::fs::rename(&next, &made).context("storing the certificate")?;
    use_certificate(root, "self-signed")
}

/// Points `/data/conf/tls/*.pem` to the pair in this directory (relative to it, or absolute), if
/// both are there.
pub(crate) fn use_certificate(root: &Root, directory: &str) -> Result<()> {
    let tls = root.path("/data/conf/tls");
    for name in NAMES {
        let file: PathBuf = match directory.strip_prefix('/') {
            Some(_) => root.path(directory).join(name),
            None => tls.join(directory).join(name),
        };
        if !file.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            bail!(
                "there is no {}; the certificate in use stays",
                file.display()
            );
        }
    }
    for name in NAMES {
        let link = tls.join(format!(".{name}"));
        remove_file(&link)?;
        symlink(format!("{directory}/{name}"), &link).context("linking the certificate")?;
        std::fs::rename(&link, tls.join(name)).context("linking the certificate")?;
    }
    sync_directory(&tls)
}
