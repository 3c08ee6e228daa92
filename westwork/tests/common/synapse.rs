//! A stand-in for Synapse's administration at its own port, as its documentation has it; the real
//! one is asked by `tests/run westwork`.

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const NONCE: &str = "used once";

#[derive(Default)]
struct State {
    secret: String,
    administrators: BTreeSet<String>,
    sessions: BTreeMap<String, BTreeSet<String>>,
    closed: BTreeSet<String>,
}

/// It ends with the test's process.
pub struct Synapse(Arc<Mutex<State>>);

impl Synapse {
    /// One that shares this secret with the box.
    pub fn start(secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:8008").expect("the chat's port, 8008");
        let state = Arc::new(Mutex::new(State {
            secret: secret.to_owned(),
            ..State::default()
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&shared, stream.unwrap());
            }
        });
        Self(state)
    }

    pub fn log_in(&self, user: &str, devices: &[&str]) {
        let devices = devices.iter().map(|&device| device.to_owned());
        let mut state = self.0.lock().unwrap();
        state.sessions.insert(user.to_owned(), devices.collect());
    }

    pub fn sessions(&self, user: &str) -> usize {
        self.0.lock().unwrap().sessions[user].len()
    }

    pub fn is_closed(&self, user: &str) -> bool {
        self.0.lock().unwrap().closed.contains(user)
    }

    pub fn forget_administrators(&self) {
        self.0.lock().unwrap().administrators.clear();
    }
}

fn serve(state: &Mutex<State>, mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (mut length, mut token) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().unwrap(),
            Some(("Authorization", value)) => token = value.replace("Bearer ", ""),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let path = path.replace("%40", "@").replace("%3A", ":");
    let (status, answer) = state.lock().unwrap().answer(&method, &path, &token, &body);
    write!(stream, "HTTP/1.0 {status} x\r\n\r\n{answer}").unwrap();
}

impl State {
    fn answer(&mut self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let path = path.strip_prefix("/_synapse/admin/").unwrap_or_default();
        if path == "v1/register" {
            return self.register(method, body);
        }
        if !self.administrators.contains(token) {
            return (401, json!({"error": "Invalid access token passed."}));
        }
        let words: Vec<&str> = path.split('/').collect();
        let (user, rest) = match words[..] {
            ["v1", "deactivate", user] => (user, "deactivate"),
            ["v2", "users", user] => (user, ""),
            ["v2", "users", user, rest] => (user, rest),
            _ => return (404, json!({"error": "Unrecognized request"})),
        };
        let Some(sessions) = self.sessions.get_mut(user) else {
            return (404, json!({"error": "User not found"}));
        };
        match (method, rest) {
            ("GET", "") => (200, json!({"name": user})),
            ("PUT", "") if body["deactivated"] == false => {
                self.closed.remove(user);
                (200, json!({"name": user}))
            }
            ("GET", "devices") => {
                let devices = sessions.iter().map(|id| json!({"device_id": id}));
                (200, json!({"devices": devices.collect::<Vec<_>>()}))
            }
            ("POST", "delete_devices") => {
                let gone = body["devices"].as_array().cloned().unwrap_or_default();
                sessions.retain(|id| !gone.contains(&json!(id)));
                (200, json!({}))
            }
            ("POST", "deactivate") if body["erase"].is_boolean() => {
                sessions.clear();
                self.closed.insert(user.to_owned());
                (200, json!({"id_server_unbind_result": "success"}))
            }
            _ => (400, json!({"error": "Bad request"})),
        }
    }

    /// Who knows the shared secret is made an administrator.
    fn register(&mut self, method: &str, body: &Value) -> (u16, Value) {
        if method == "GET" {
            return (200, json!({"nonce": NONCE}));
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        let said = [NONCE, text("username"), text("password"), "admin"].join("\0");
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(said.as_bytes());
        let mac = hex::encode(mac.finalize().into_bytes());
        if self.secret.is_empty() || text("nonce") != NONCE || text("mac") != mac {
            return (403, json!({"error": "HMAC incorrect"}));
        }
        let token = format!("of {}", text("username"));
        self.administrators.insert(token.clone());
        (200, json!({"access_token": token}))
    }
}
