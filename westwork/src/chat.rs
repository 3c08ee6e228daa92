//! Synapse's administration, over its interface on this machine: people's sessions there do not
//! end by themselves when the directory no longer knows them.
//!
//! It is done by an account of the box's own, made with the secret that Synapse shares with the
//! box; its token is a secret of the box like the others. nginx passes none of this on.

use crate::root::{Root, write_file};
use crate::secrets::{Secret, Secrets, random_text};
use crate::settings::OWN_PREFIX;
use anyhow::{Context, Result, anyhow, bail};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SYNAPSE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8008);
/// A slow card needs some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_ANSWER: u64 = 4 << 20;

pub(crate) struct Chat<'a> {
    root: &'a Root,
    domain: &'a str,
}

impl<'a> Chat<'a> {
    pub(crate) fn new(root: &'a Root, domain: &'a str) -> Self {
        Self { root, domain }
    }

    /// Ends all of somebody's sessions.
    pub(crate) fn log_out(&self, user: &str) -> Result<()> {
        let devices = format!("{}/devices", self.user("v2", user));
        let Some(answer) = self.ask("GET", &devices, None)? else {
            return Ok(());
        };
        let list = answer["devices"].as_array().cloned().unwrap_or_default();
        let ids: Vec<_> = list.iter().map(|device| &device["device_id"]).collect();
        let path = format!("{}/delete_devices", self.user("v2", user));
        self.ask("POST", &path, Some(json!({"devices": ids})))?;
        Ok(())
    }

    /// Ends all sessions, leaves all rooms, and lets nobody in by this name again; `erase` takes
    /// what was written from those who join later.
    pub(crate) fn close(&self, user: &str, erase: bool) -> Result<()> {
        let path = format!("/_synapse/admin/v1/deactivate/{}", self.id(user));
        self.ask("POST", &path, Some(json!({"erase": erase})))?;
        Ok(())
    }

    /// Lets somebody in again after [`Chat::close`].
    pub(crate) fn open_again(&self, user: &str) -> Result<()> {
        if self.ask("GET", &self.user("v2", user), None)?.is_some() {
            let body = json!({"deactivated": false});
            self.ask("PUT", &self.user("v2", user), Some(body))?;
        }
        Ok(())
    }

    fn id(&self, user: &str) -> String {
        format!("%40{user}%3A{}", self.domain)
    }

    fn user(&self, version: &str, user: &str) -> String {
        format!("/_synapse/admin/{version}/users/{}", self.id(user))
    }

    /// As the box's own account, which is made if there is none. None: who was asked about has
    /// never been in the chat.
    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Option<Value>> {
        let kept = Secrets::load(self.root)?;
        let mut answer = (401, Value::Null);
        if let Some(token) = kept.get("synapse_admin") {
            answer = request(method, path, Some(token), body.as_ref())?;
        }
        if answer.0 == 401 {
            answer = request(method, path, Some(&self.register(&kept)?), body.as_ref())?;
        }
        match answer {
            (200..=299, value) => Ok(Some(value)),
            (404, _) => Ok(None),
            (status, value) => bail!("the chat server answers {status}: {}", value["error"]),
        }
    }

    fn register(&self, secrets: &Secrets) -> Result<Secret> {
        const REGISTER: &str = "/_synapse/admin/v1/register";
        let shared = secrets
            .get("synapse_registration")
            .ok_or_else(|| anyhow!("there is no secret synapse_registration"))?;
        let (_, answer) = request("GET", REGISTER, None, None)?;
        let nonce = answer["nonce"]
            .as_str()
            .context("the chat server gives no nonce")?;
        let name = format!("{OWN_PREFIX}{}", random_text(8)?);
        let password = random_text(40)?;
        let mut mac = Hmac::<Sha1>::new_from_slice(shared.reveal().as_bytes())
            .map_err(|_| anyhow!("the secret synapse_registration cannot be used"))?;
        mac.update([nonce, &name, &password, "admin"].join("\0").as_bytes());
        let mac = hex::encode(mac.finalize().into_bytes());
        let body = json!({
            "nonce": nonce, "username": name, "password": password, "admin": true, "mac": mac,
        });
        let (status, answer) = request("POST", REGISTER, None, Some(&body))?;
        let Some(token) = answer["access_token"].as_str() else {
            bail!("the chat server answers {status}: {}", answer["error"]);
        };
        let path = self.root.own().join("secrets/synapse_admin");
        write_file(&path, 0o600, token.as_bytes())?;
        Ok(Secret::new(token))
    }
}

/// One request: the status and the answer. HTTP/1.0, since nothing of 1.1 is needed.
fn request(
    method: &str,
    path: &str,
    token: Option<&Secret>,
    body: Option<&Value>,
) -> Result<(u16, Value)> {
    let asking = "asking the chat server";
    let mut stream = TcpStream::connect_timeout(&SYNAPSE, PATIENCE)
        .context("asking the chat server, which has to run for this")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut text = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n");
    if let Some(token) = token {
        text += &format!("Authorization: Bearer {}\r\n", token.reveal());
    }
    text += &format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).context(asking)?;
    let mut bytes = Vec::new();
    stream
        .take(LONGEST_ANSWER)
        .read_to_end(&mut bytes)
        .context(asking)?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(&bytes).context(asking)? else {
        bail!("the chat server's answer ends early");
    };
    let status = head.code.context(asking)?;
    Ok((
        status,
        serde_json::from_slice(&bytes[length..]).unwrap_or_default(),
    ))
}
