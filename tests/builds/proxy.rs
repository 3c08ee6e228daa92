//! `APT_PROXY` is used, and the image does not know of it.

use crate::fixture::Fixture;
use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Forwards one request with an absolute address, then closes.
fn forward(client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = String::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header == "\r\n" {
            break;
        }
        let lower = header.to_ascii_lowercase();
        if !lower.starts_with("connection:") && !lower.starts_with("proxy-") {
            headers.push_str(&header);
        }
    }
    let error = || std::io::Error::other("not a request for a proxy");
    let mut words = line.split_whitespace();
    let method = words.next().ok_or_else(error)?;
    let address = words
        .next()
        .and_then(|a| a.strip_prefix("http://"))
        .ok_or_else(error)?;
    let (host, path) = address.split_once('/').ok_or_else(error)?;
    let port = if host.contains(':') { "" } else { ":80" };
    let mut origin = TcpStream::connect(format!("{host}{port}"))?;
    write!(
        origin,
        "{method} /{path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"
    )?;
    let mut client = client;
    copy(&mut origin.take(u64::MAX), &mut client)?;
    Ok(())
}

#[test]
fn the_proxy_is_used_and_not_in_the_image() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                if forward(client).is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let f = Fixture::with_base("arm64");
    f.config(&format!("APT_PROXY=http://{address}"));
    f.config("export REPORT=\"$PWD/report\"");
    f.file("stage0/00-packages/00-run-chroot.sh", "apt-get update\n");
    f.file("stage0/00-packages/01-packages", "less\n");
    // The address is not the script's, or it would be found in a layer's record.
    f.script(
        "stage0/01-look/00-run.sh",
        "#!/bin/bash\ncd \"$ROOTFS_DIR\" || exit 1\ngrep -rlaF \"${APT_PROXY#http://}\" . >\"$REPORT\"\necho looked >>\"$REPORT\"\n",
    );
    f.run(&["build"]).good();
    assert!(served.load(Ordering::SeqCst) > 0, "the proxy was not asked");
    assert_eq!(f.read("report"), "looked\n", "the address is in these");
}
