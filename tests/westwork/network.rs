//! A network namespace as the neighbourhood of the box: a home network with DHCP on one
//! tap device, and on another the way into its set-up Wi-Fi.

use crate::{run, succeed};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The box in the home network.
pub(crate) const BOX: &str = "10.20.0.11";
/// The box in the network it opens itself.
pub(crate) const ACCESS_POINT: &str = "192.168.30.1";
/// The home network's router, the machine the test runs on.
pub(crate) const ROUTER: &str = "10.20.0.1";
/// The telephone, on the cable side.
pub(crate) const TELEPHONE: &str = "10.30.0.2";
pub(crate) const HOME_TAP: &str = "home0";
pub(crate) const TELEPHONE_TAP: &str = "phone0";
pub(crate) const HOME_MAC: &str = "52:54:00:20:00:11";
pub(crate) const TELEPHONE_MAC: &str = "52:54:00:30:00:02";

/// Starts the test of this name again in namespaces of its own, with the image that `make`
/// gives. There, and only there, it returns that image.
pub(crate) fn enter(test: &str, make: impl Fn() -> PathBuf) -> Option<PathBuf> {
    const INSIDE: &str = "WESTWORK_TEST_INSIDE";
    if let Some(image) = std::env::var_os(INSIDE) {
        return Some(image.into());
    }
    let status = Command::new("unshare")
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--mount-proc",
        ])
        .args(["--fork", "--kill-child", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, make().canonicalize().unwrap())
        .status()
        .expect("unshare");
    assert!(status.success(), "{test}: {status}");
    None
}

/// Why the test cannot run on this machine, if so.
pub(crate) fn obstacle() -> Option<&'static str> {
    let tap = "ip tuntap add x0 mode tap";
    let works = Command::new("unshare")
        .args(["--map-root-user", "--net", "--", "sh", "-c", tap])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    (!works).then_some("network namespaces or /dev/net/tun cannot be used here")
}

/// DHCP for the home network; ends when dropped.
pub(crate) struct Network(Child);

impl Network {
    pub(crate) fn new() -> Self {
        succeed("ip link set lo up");
        for (tap, address) in [(HOME_TAP, ROUTER), (TELEPHONE_TAP, "10.30.0.1")] {
            succeed(&format!(
                "ip tuntap add {tap} mode tap && ip addr add {address}/24 dev {tap} && ip link set {tap} up"
            ));
        }
        succeed(&format!("ip route add 192.168.30.0/24 via {TELEPHONE}"));
        let host = format!("--dhcp-host={HOME_MAC},{BOX}");
        let child = Command::new("dnsmasq")
            .args([
                // Without a daemon it keeps its user, and a user namespace has no other.
                "--no-daemon",
                "--conf-file=/dev/null",
                "--bind-interfaces",
            ])
            .args(["--no-hosts", "--no-resolv", "--pid-file="])
            .arg("--leasefile-ro")
            .args(["--dhcp-range=10.20.0.100,10.20.0.200,1h", &host])
            .arg(format!("--interface={HOME_TAP}"))
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq");
        Self(child)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// TCP ports of `address` that answer; what is filtered or closed is not among them. A scan of all
/// is fast, and loses answers of a busy machine; so the `known` ones are asked again by themselves.
pub(crate) fn open_ports(address: &str, known: &[u16]) -> Vec<u16> {
    let args = "-n -Pn -sT -T4 --min-rate 2000 --max-retries 2 -p- -oG -";
    let args: Vec<_> = args.split(' ').chain([address]).collect();
    let text = run("nmap", &args);
    let mut ports: Vec<u16> = text
        .split([' ', ','])
        .filter(|word| word.contains("/open/"))
        .filter_map(|word| word.split('/').next()?.parse().ok())
        .collect();
    ports.extend(known.iter().filter(|port| {
        let address = format!("{address}:{port}").parse().unwrap();
        TcpStream::connect_timeout(&address, Duration::from_secs(10)).is_ok()
    }));
    ports.sort_unstable();
    ports.dedup();
    ports
}
