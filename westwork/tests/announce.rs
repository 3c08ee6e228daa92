//! The set-up code on the card and the screen, and the access point that it protects.

mod common;

use common::{Device, Setup};
use std::os::unix::fs::PermissionsExt;

/// What the image has.
const HOSTAPD: &str = include_str!("../../stages/stage3/02-conf/files/hostapd/hostapd.conf");

/// What a telephone reads from a picture of dark (`true`) and light squares.
fn scan(picture: &[Vec<bool>]) -> String {
    const SCALE: usize = 4;
    let (width, height) = (picture[0].len() * SCALE, picture.len() * SCALE);
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        if picture[y / SCALE][x / SCALE] {
            0
        } else {
            255
        }
    });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "no QR code");
    grids[0].decode().unwrap().1
}

/// The screen: what is printed is light.
fn on_the_screen(text: &str) -> Vec<Vec<bool>> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(['█', '▀', '▄']))
        .collect();
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80) && lines.len() < 22,
        "too large"
    );
    let half = |line: &str, of: [char; 2]| line.chars().map(|c| !of.contains(&c)).collect();
    lines
        .iter()
        .flat_map(|line| [half(line, ['█', '▀']), half(line, ['█', '▄'])])
        .collect()
}

/// The drawing on the card: one path of dark rectangles.
fn on_the_card(svg: &str) -> Vec<Vec<bool>> {
    let width = svg
        .split("width=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let size: usize = width.parse().unwrap();
    let mut picture = vec![vec![false; size]; size];
    let path = svg
        .split(" d=\"")
        .last()
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    for rectangle in path.split('M').skip(1) {
        let numbers: Vec<usize> = rectangle
            .split([' ', 'h', 'v', 'V', 'H', 'z', 'Z'])
            .filter_map(|number| number.parse().ok())
            .collect();
        let [x, y, across, down] = numbers[..4] else {
            panic!("{rectangle}")
        };
        for row in picture.iter_mut().skip(y).take(down) {
            row[x..x + across].fill(true);
        }
    }
    picture
}

#[test]
fn the_access_point_is_encrypted_with_the_code() {
    let device = Device::new();
    device.write("data/conf/hostapd/hostapd.conf", HOSTAPD);
    // At boot, before the page is there; the page finds the same code.
    assert!(device.westwork(&["announce"]).status.success());
    let code = device.code();
    let mut setup = device.start();
    assert_eq!(device.code(), code);
    let parts: Vec<usize> = code.split('-').map(str::len).collect();
    assert_eq!(parts, [4, 4, 4], "{code}");
    let hostapd = device.read("run/westwork/hostapd.conf");
    let has = |line: &str| hostapd.lines().any(|own| own == line);
    assert!(
        has("wpa=2") && has("rsn_pairwise=CCMP") && has("ssid=Westwork"),
        "{hostapd}"
    );
    assert!(
        has(&format!("wpa_passphrase={code}")) && has("wpa_key_mgmt=WPA-PSK"),
        "{hostapd}"
    );
    assert!(!hostapd.contains("wpa=0"), "{hostapd}");
    let mode = |path: &str| device.path(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("run/westwork/hostapd.conf"), 0o600);

    let wifi = format!("WIFI:T:WPA;S:Westwork;P:{code};;");
    let screen = device.read("run/issue.d/westwork.issue");
    assert!(screen.contains(&code), "{screen}");
    assert_eq!(scan(&on_the_screen(&screen)), wifi);
    assert_eq!(
        scan(&on_the_card(
            &device.read("boot/firmware/westwork-wifi.svg")
        )),
        wifi
    );

    setup.complete(&code, &Setup::answers());
    for gone in [
        "boot/firmware/westwork-code.txt",
        "boot/firmware/westwork-wifi.svg",
        "run/issue.d/westwork.issue",
        "run/westwork/hostapd.conf",
    ] {
        assert!(!device.path(gone).exists(), "{gone}");
    }
}

#[test]
fn wpa3_where_the_radio_can() {
    let device = Device::new();
    device.write("data/conf/hostapd/hostapd.conf", HOSTAPD);
    device.program(
        "usr/sbin/iw",
        "printf '\\tDevice supports SAE with AUTHENTICATE command\\n'",
    );
    assert!(device.westwork(&["announce"]).status.success());
    let hostapd = device.read("run/westwork/hostapd.conf");
    for line in [
        "wpa_key_mgmt=WPA-PSK SAE",
        "ieee80211w=1",
        "sae_require_mfp=1",
    ] {
        assert!(hostapd.contains(&format!("{line}\n")), "{hostapd}");
    }
}

#[test]
fn a_short_code_of_before_is_replaced() {
    let device = Device::new();
    device.write("data/conf/westwork/secrets/setup_code", "abcdefgh");
    assert!(device.westwork(&["announce"]).status.success());
    assert_eq!(device.code().len(), 14);
}
