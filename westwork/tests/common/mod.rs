//! A root with stand-ins for the device's programs, `westwork setup` running in it, and a client.

#![allow(dead_code, unreachable_pub)]

pub mod backups;
pub mod synapse;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Device {
    directory: TempDir,
}

impl Device {
    pub fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory, for more files than a disk likes to make and to remove.
    pub fn in_memory() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn within(directory: TempDir) -> Self {
        let device = Self { directory };
        device.write(
            "data/conf/nginx/nginx.conf.mustache",
            "server_name {{domain}};\n",
        );
        device.write(
            "data/conf/dovecot/ldap.conf.mustache",
            "password = {{secret.ldap_services}}\n",
        );
        for path in ["data/conf/westwork", "boot/firmware", "etc", "dev"] {
            std::fs::create_dir_all(device.path(path)).unwrap();
        }
        device.program("usr/sbin/nginx", "exit 0");
        device.program(
            "usr/sbin/slapadd",
            "mkdir -p \"$R/data/ldap\"\ncat > \"$R/data/ldap/data.mdb\"",
        );
        device.program("usr/sbin/iw", "exit 0");
        device.program("usr/bin/nmcli", "exit 0");
        device.program("usr/bin/systemctl", "exit 0");
        for program in ["openssl", "age", "age-keygen"] {
            let body = format!("PATH=/usr/bin:/bin exec {program} \"$@\"");
            device.program(&format!("usr/bin/{program}"), &body);
        }
        device
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// A shell script that notes its call in `calls`; `$R` is the root.
    pub fn program(&self, path: &str, body: &str) {
        let root = self.root().display();
        self.write(
            path,
            &format!("#!/bin/sh\nR='{root}'\necho \"$0 $*\" >> \"$R/calls\"\n{body}\n"),
        );
        std::fs::set_permissions(self.path(path), PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub fn westwork(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_westwork"));
        command.arg("--root").arg(self.root()).args(arguments);
        command
    }

    pub fn code(&self) -> String {
        let text = self.read("boot/firmware/westwork-code.txt");
        text.lines().next().unwrap_or_default().to_owned()
    }

    pub fn start(&self) -> Setup {
        let mut child = self
            .command(&["setup", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let address = line
            .rsplit("http://")
            .next()
            .unwrap()
            .trim_end_matches('/')
            .parse()
            .unwrap_or_else(|_| panic!("{line}"));
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *writer.lock().unwrap() += &(line + "\n");
            }
        });
        Setup {
            child,
            address,
            cookie: String::new(),
            csrf: String::new(),
            log,
        }
    }
}

pub struct Setup {
    pub child: Child,
    pub address: SocketAddr,
    pub cookie: String,
    pub csrf: String,
    pub log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_default()
    }
}

pub fn raw(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    talk(TcpStream::connect(address).ok()?, request)
}

/// A connection from this address of the loopback network.
pub fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let made = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&made, &SocketAddr::from((source, 0))).unwrap();
    connect(&made, &address).unwrap();
    made.into()
}

pub fn talk(mut stream: TcpStream, request: &[u8]) -> Option<Answer> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        head: head.replace('\r', ""),
        body: body.to_owned(),
    })
}

impl Setup {
    pub fn get(&mut self, path: &str) -> Answer {
        let host = self.address.to_string();
        self.get_from(&host, path)
    }

    pub fn get_from(&mut self, host: &str, path: &str) -> Answer {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\n\r\n",
            self.cookie
        );
        let answer = raw(self.address, request.as_bytes()).expect("an answer");
        if let Some((_, rest)) = answer.body.split_once("name=\"csrf\" value=\"") {
            self.csrf = rest.split('"').next().unwrap().to_owned();
        }
        answer
    }

    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        if !self.csrf.is_empty() && !fields.iter().any(|(name, _)| *name == "csrf") {
            body.append_pair("csrf", &self.csrf);
        }
        let body = body.finish();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            self.cookie,
            body.len()
        );
        let answer = raw(self.address, (head + &body).as_bytes()).expect("an answer");
        if let Some(session) = answer
            .header("Set-Cookie")
            .split(';')
            .next()
            .filter(|cookie| !cookie.is_empty())
        {
            self.cookie = session.to_owned();
        }
        answer
    }

    /// The whole set-up with these answers, to its last page.
    pub fn complete(&mut self, code: &str, answers: &[(&str, &str)]) -> Answer {
        self.log_in(code);
        self.post("/form", answers);
        self.get("/review");
        self.post("/begin", &[]);
        self.wait_for("/done", "Your Westwork is ready")
    }

    /// Types the code and opens the page that comes next.
    pub fn log_in(&mut self, code: &str) -> Answer {
        assert_eq!(self.post("/code", &[("code", code)]).status, 303);
        let place = self.get("/").header("Location").to_owned();
        self.get(&place)
    }

    pub fn answers() -> Vec<(&'static str, &'static str)> {
        vec![
            ("domain", "family.example.org"),
            ("name", "Ada Lovelace"),
            ("user", "ada"),
            ("password", "correct horse battery"),
            ("password2", "correct horse battery"),
            ("country", "DE"),
            ("wifi", "Home; sweet"),
            ("wifi_password", "garden gnome"),
            ("certificate", "self-signed"),
        ]
    }

    /// Waits for the page that begins with this title.
    pub fn wait_for(&mut self, path: &str, title: &str) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(path);
            if answer.body.contains(&format!("<h1>{title}")) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{} {}", answer.head, answer.body);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs a program with this standard input.
pub fn with_input(command: &mut Command, input: &str) -> Output {
    Watched::run(command, input).output
}

/// A program that was watched while it ran.
pub struct Watched {
    pub output: Output,
    /// The most memory it had, in KiB.
    pub peak: u64,
}

impl Watched {
    pub fn run(command: &mut Command, input: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        // What it writes is little, so that it does not wait for being read.
        while matches!(child.try_wait(), Ok(None)) {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(now.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(2));
        }
        let output = child.wait_with_output().unwrap();
        Self { output, peak }
    }
}
