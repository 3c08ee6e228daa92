//! `westwork certificate`: from the self-signed certificate to Let's Encrypt's, in normal use.
//!
//! certbot answers the challenge through nginx, which serves `/data/acme` below
//! `/.well-known/acme-challenge/`. Until it succeeds, the certificate in use stays.

use crate::root::{Root, make_directory};
use crate::services;
use crate::settings::{Certificate, Settings};
use crate::setup::use_certificate;
use anyhow::{Context, Result};

/// Asks for or renews the certificate, if Let's Encrypt was chosen; says what it did.
pub fn update(root: &Root) -> Result<&'static str> {
    let settings = Settings::load(root)?;
    let Certificate::LetsEncrypt { email, staging } = &settings.certificate else {
        return Ok("a self-signed certificate was chosen; nothing to do");
    };
    let _lock = root.lock()?;
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
