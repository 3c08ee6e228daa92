//! As much of HTTP/1.1 as forms need: one request a connection, small and soon.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const HEAD_LIMIT: usize = 8 * 1024;
const BODY_LIMIT: usize = 16 * 1024;
/// A whole request must arrive within this time.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Without the query.
    pub(super) path: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The box's address that was asked.
    pub(super) local: SocketAddr,
    /// Who asks.
    pub(super) client: IpAddr,
}

impl Request {
    /// A header that is there once; twice is as good as never.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(key, _)| key == name);
        all.next()
            .filter(|_| all.next().is_none())
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let mut pairs = self
            .header("cookie")?
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(super) fn form(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// `http://` and the address that was asked.
    pub(super) fn origin(&self) -> String {
        match (self.local.ip(), self.local.port()) {
            (IpAddr::V4(ip), 80) => format!("http://{ip}"),
            (IpAddr::V6(ip), 80) => format!("http://[{ip}]"),
            _ => format!("http://{}", self.local),
        }
    }
}

#[derive(Debug)]
pub(super) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Response {
    pub(super) fn page(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "text/html; charset=utf-8".into())],
            body,
        }
    }

    pub(super) fn redirect(status: u16, to: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("Location", to.into())],
            body: String::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn send(&self, stream: &mut TcpStream, head_only: bool) -> std::io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            302 => "Found",
            303 => "See Other",
            _ => "Refused",
        };
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        let always = [
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
            (
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "same-origin"),
        ];
        for (name, value) in always {
            text += &format!("{name}: {value}\r\n");
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        if !head_only {
            text += &self.body;
        }
        stream.write_all(text.as_bytes())
    }
}

/// Reads a request; the error is the status to answer with.
pub(super) fn read(stream: &mut TcpStream) -> Result<Request, u16> {
    let deadline = Instant::now() + PATIENCE;
    let local = stream.local_addr().map_err(|_| 400_u16)?;
    let client = stream.peer_addr().map_err(|_| 400_u16)?.ip();
    let ends = (local, client);
    let mut bytes = Vec::new();
    let (mut request, length, head) = loop {
        more(stream, &mut bytes, deadline)?;
        if let Some(parsed) = parse_head(&bytes, ends)? {
            break parsed;
        }
        if bytes.len() > HEAD_LIMIT {
            return Err(431);
        }
    };
    while bytes.len() < head + length {
        more(stream, &mut bytes, deadline)?;
    }
    request.body = bytes[head..head + length].to_vec();
    Ok(request)
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<(), u16> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(408);
    }
    stream.set_read_timeout(Some(left)).map_err(|_| 400_u16)?;
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => Err(400),
        Ok(count) => {
            bytes.extend_from_slice(&buffer[..count]);
            Ok(())
        }
        Err(_) => Err(408),
    }
}

fn parse_head(
    bytes: &[u8],
    (local, client): (SocketAddr, IpAddr),
) -> Result<Option<(Request, usize, usize)>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(400),
    };
    let method = match parsed.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        _ => return Err(405),
    };
    let target = parsed.path.unwrap_or("/");
    let path = target.split('?').next().unwrap_or("/").to_owned();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
        .collect();
    let request = Request {
        method,
        path,
        headers,
        body: Vec::new(),
        local,
        client,
    };
    if request
        .headers
        .iter()
        .any(|(name, _)| name == "transfer-encoding")
    {
        return Err(411);
    }
    let length = match request.header("content-length") {
        Some(length) => length.parse::<usize>().map_err(|_| 400_u16)?,
        None if method == Method::Post => return Err(411),
        None => 0,
    };
    if length > BODY_LIMIT {
        return Err(413);
    }
    Ok(Some((request, length, head)))
}
