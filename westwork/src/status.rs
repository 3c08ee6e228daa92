//! `westwork status`.

use crate::root::Root;
use crate::services;
use crate::settings::Settings;
use anyhow::{Context, Result};
use serde::Serialize;

/// What the owner may want to know at a glance.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Has it been set up?
    pub configured: bool,
    /// As people write it; none before set-up.
    pub domain: Option<String>,
    /// Units and what systemd says of them.
    pub services: Vec<(String, String)>,
    /// Room for /data.
    pub disk: Disk,
    /// When the certificate in use ends, as openssl writes dates.
    pub certificate_ends: Option<String>,
}

/// The file system of /data, in bytes.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// All of it.
    pub size: u64,
    /// What is left for anybody but root.
    pub free: u64,
}

impl Status {
    /// Asks systemd, openssl and the file system.
    pub fn read(root: &Root) -> Result<Self> {
        let disk = rustix::fs::statvfs(root.data()).context("reading the file system of /data")?;
        let configured = root.is_configured();
        Ok(Self {
            configured,
            domain: if configured {
                Some(Settings::load(root)?.domain.display())
            } else {
                None
            },
            services: if configured {
                services::states(root)?
            } else {
                Vec::new()
            },
            disk: Disk {
                size: disk.f_blocks * disk.f_frsize,
                free: disk.f_bavail * disk.f_frsize,
            },
            certificate_ends: certificate_end(root)?,
        })
    }
}

fn certificate_end(root: &Root) -> Result<Option<String>> {
    let file = root.path("/data/conf/tls/fullchain.pem");
    if !file.exists() {
        return Ok(None);
    }
    let output = root
        .program("/usr/bin/openssl")
        .args(["x509", "-noout", "-enddate", "-in"])
        .arg(file)
        .run()
        .context("reading the certificate")?;
    Ok(String::from_utf8_lossy(&output)
        .trim()
        .strip_prefix("notAfter=")
        .map(str::to_owned))
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.domain {
            Some(domain) => writeln!(f, "domain       {domain}")?,
            None => writeln!(f, "not set up yet")?,
        }
        for (unit, state) in &self.services {
            writeln!(f, "{unit:<16} {state}")?;
        }
        if let Some(end) = &self.certificate_ends {
            writeln!(f, "certificate  until {end}")?;
        }
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        writeln!(
            f,
            "disk         {:.1} of {:.1} GiB free",
            gib(self.disk.free),
            gib(self.disk.size)
        )
    }
}
