//! The services as systemd has them. Every one is `PartOf=westwork.target`.

use crate::root::Root;
use anyhow::{Context, Result};

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// What `status` asks for.
pub const UNITS: [&str; 6] = [
    "nginx",
    "slapd",
    "postfix",
    "dovecot",
    "matrix-synapse",
    "php-fpm",
];

/// While it lives, no service runs that was not running before; they come back with it gone.
#[derive(Debug)]
pub(crate) struct Stopped<'a> {
    root: &'a Root,
    was_running: bool,
}

impl<'a> Stopped<'a> {
    pub(crate) fn new(root: &'a Root) -> Result<Self> {
        let was_running = root.has(SYSTEMCTL)
            && root
                .program(SYSTEMCTL)
                .args(["is-active", "--quiet", "westwork.target"])
                .outcome()?
                .success;
        if was_running {
            root.program(SYSTEMCTL)
                .args(["stop", "westwork.target"])
                .run()
                .context("stopping the services")?;
        }
        Ok(Self { root, was_running })
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if !self.was_running {
            return;
        }
        if let Err(error) = self
            .root
            .program(SYSTEMCTL)
            .args(["start", "westwork.target"])
            .run()
        {
            eprintln!("westwork: starting the services: {error:#}; look at systemctl status");
        }
    }
}

/// Ends normal use, if the box is in it.
pub(crate) fn stop_normal_use(root: &Root) -> Result<()> {
    let mut stopped = Stopped::new(root)?;
    stopped.was_running = false;
    Ok(())
}

/// Starts normal use and does not wait for it.
pub(crate) fn start_normal_use(root: &Root) -> Result<()> {
    if root.has(SYSTEMCTL) {
        root.program(SYSTEMCTL)
            .args(["--no-block", "start", "westwork.target"])
            .run()
            .context("starting normal use")?;
    }
    Ok(())
}

/// Makes those that read the certificate read it again.
pub(crate) fn reload_certificate_users(root: &Root) -> Result<()> {
    let args = [
        "try-reload-or-restart",
        "nginx.service",
        "postfix.service",
        "dovecot.service",
        // It takes its copy of the certificate when it starts.
        "slapd.service",
    ];
    root.program(SYSTEMCTL)
        .args(args)
        .run()
        .context("reloading the services")
        .map(drop)
}

/// `active`, `inactive`, `failed` … for each unit.
pub(crate) fn states(root: &Root) -> Result<Vec<(String, String)>> {
    if !root.has(SYSTEMCTL) {
        return Ok(Vec::new());
    }
    // Its exit code says whether all are active; its lines are wanted either way.
    let outcome = root
        .program(SYSTEMCTL)
        .arg("is-active")
        .args(UNITS)
        .outcome()?;
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    Ok(UNITS
        .iter()
        .zip(text.lines())
        .map(|(unit, state)| ((*unit).to_owned(), state.trim().to_owned()))
        .collect())
}
