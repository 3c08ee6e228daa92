//! The set-up code: who knows it sits at the screen or holds the card. It is what the page asks
//! for, and the password of the access point, so that nothing of the set-up goes over the air in
//! the clear.

use crate::root::{Root, make_directory, write_file};
use crate::secrets::{Secret, random_text};
use anyhow::{Context, Result};
use qrcode::QrCode;
use qrcode::render::{svg, unicode};
use std::io::Write;

/// The access point's name: hostapd.conf has it too.
const NETWORK: &str = "Westwork";
/// Letters of the code, of 32 different ones: 60 bits.
const LENGTH: usize = 12;

/// Where the code is written down; all of it goes when the box is configured.
pub(crate) const WRITTEN: [&str; 4] = [
    "/boot/firmware/westwork-code.txt",
    "/boot/firmware/westwork-wifi.svg",
    "/run/issue.d/westwork.issue",
    "/run/westwork/hostapd.conf",
];

/// The box's code, without hyphens: the same until it is configured, so that the card can be read
/// in another computer. Writes it on the boot partition, for the login screen and for hostapd, and
/// with `show` on the screen.
pub fn announce(root: &Root, show: bool) -> Result<Secret> {
    let _lock = root.lock()?;
    let code = code(root)?;
    let shown = format!("{}-{}-{}", &code[..4], &code[4..8], &code[8..]);
    let wifi = QrCode::new(format!("WIFI:T:WPA;S:{NETWORK};P:{shown};;"))
        .context("drawing the QR code")?;
    let boot = root.path("/boot/firmware");
    if boot.is_dir() {
        let text = format!(
            "{shown}\r\n\r\nThis is the password of the Wi-Fi network \"{NETWORK}\", and the code that the set-up\r\npage asks for, http://192.168.30.1/. A telephone that looks at westwork-wifi.svg joins.\r\n"
        );
        write_file(&boot.join("westwork-code.txt"), 0o600, text.as_bytes())?;
        let mut drawing = wifi.render::<svg::Color<'_>>();
        let drawing = drawing.min_dimensions(400, 400).build();
        write_file(&boot.join("westwork-wifi.svg"), 0o600, drawing.as_bytes())?;
    }
    // Light on dark, as screens are, but a QR code is dark on light.
    let drawing = wifi
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build();
    let text = format!(
        "\n{drawing}\n\n  Westwork: join the Wi-Fi network \"{NETWORK}\", open http://192.168.30.1\n  Set-up code, and the password of the network: {shown}\n\n"
    );
    let issue = root.path("/run/issue.d");
    make_directory(&issue, 0o755)?;
    write_file(&issue.join("westwork.issue"), 0o600, text.as_bytes())?;
    access_point(root, &shown)?;
    if show {
        let console = root.path("/dev/tty1");
        if let Ok(mut console) = std::fs::File::options().write(true).open(console) {
            // No screen, no loss: the code is on the card as well.
            let _ = console.write_all(text.replace('\n', "\r\n").as_bytes());
        }
    }
    Ok(Secret::new(code))
}

fn code(root: &Root) -> Result<String> {
    let secrets = root.own().join("secrets");
    let path = secrets.join("setup_code");
    make_directory(&secrets, 0o700)?;
    match std::fs::read_to_string(&path) {
        Ok(code) if code.len() == LENGTH && code.is_ascii() => Ok(code),
        _ => {
            let code = random_text(LENGTH)?;
            write_file(&path, 0o600, code.as_bytes())?;
            Ok(code)
        }
    }
}

/// hostapd's configuration: the file in /data/conf, and encryption. WPA2 is what every radio can;
/// WPA3 is offered where the driver leaves its handshake to hostapd.
fn access_point(root: &Root, password: &str) -> Result<()> {
    let configured = root.conf().join("hostapd/hostapd.conf");
    let Ok(text) = std::fs::read_to_string(&configured) else {
        // An image without an access point.
        return Ok(());
    };
    let wpa3 = root.has("/usr/sbin/iw") && {
        let phy = root.program("/usr/sbin/iw").arg("phy").outcome()?;
        String::from_utf8_lossy(&phy.stdout).contains("SAE with AUTHENTICATE command")
    };
    let more = if wpa3 {
        "wpa_key_mgmt=WPA-PSK SAE\nieee80211w=1\nsae_require_mfp=1\nsae_pwe=2\n"
    } else {
        "wpa_key_mgmt=WPA-PSK\n"
    };
    let run = root.path("/run/westwork");
    make_directory(&run, 0o755)?;
    let text = format!("{text}\nwpa=2\nrsn_pairwise=CCMP\nwpa_passphrase={password}\n{more}");
    write_file(&run.join("hostapd.conf"), 0o600, text.as_bytes())
}
