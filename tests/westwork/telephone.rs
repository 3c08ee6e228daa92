//! A telephone in radio range: the second radio of the machine, in a network namespace of its
//! own, through which this side reaches the box's Wi-Fi.

use crate::machine::Machine;
use crate::network::{ACCESS_POINT, TELEPHONE};
use crate::run;

const HEARD: &str = "/run/heard";

/// Everything that is sent by radio from now on goes to a file of the machine.
pub(crate) fn listens(machine: &mut Machine) {
    machine.sh(&format!(
        "ip link set hwsim0 up
        printf '%s\\n' 'import socket' \\
            'air = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))' \\
            'air.bind((\"hwsim0\", 0))' 'out = open(\"{HEARD}\", \"wb\", 0)' \\
            'while True: out.write(air.recv(65536))' > /run/listen.py
        setsid python3 /run/listen.py >/dev/null 2>&1 &"
    ));
}

/// None of this was sent for everybody to read; the network's name was.
pub(crate) fn has_not_heard(machine: &mut Machine, secrets: &[&str]) {
    let heard = |m: &mut Machine, word: &str| {
        m.sh(&format!("grep -acF '{word}' {HEARD} || true")).trim() != "0"
    };
    assert!(heard(machine, "Westwork"), "nothing was heard");
    for secret in secrets {
        assert!(!heard(machine, secret), "{secret:?} went through the air");
    }
    let size = machine.sh(&format!("stat -c %s {HEARD}"));
    println!(
        "{} bytes heard, none of {} secrets",
        size.trim(),
        secrets.len()
    );
}

/// Takes the second radio and the second cable, joins "Westwork" with the code that is on the
/// card, and asks for an address.
pub(crate) fn joins(machine: &mut Machine) {
    let code = machine.code();
    machine.sh("ip netns add phone
        radio=$(cat /sys/class/net/wlan1/phy80211/name)
        iw phy $radio set netns name phone
        ip link set eth1 netns phone
        ip -n phone link set lo up
        ip -n phone link set eth1 up
        ip -n phone link set wlan1 up");
    machine.sh(&format!("ip -n phone addr add {TELEPHONE}/24 dev eth1"));
    machine.wait("the Wi-Fi network \"Westwork\"", 120, |m| {
        let scan = m.attempt("ip netns exec phone iw dev wlan1 scan").text;
        scan.contains("SSID: Westwork")
    });
    // Nobody joins without the password.
    machine.attempt("ip netns exec phone iw dev wlan1 connect Westwork");
    std::thread::sleep(std::time::Duration::from_secs(5));
    let link = "ip netns exec phone iw dev wlan1 link";
    let open = machine.attempt(link).text;
    assert!(
        !open.contains("Connected to"),
        "the network is open: {open}"
    );
    machine.attempt("ip netns exec phone iw dev wlan1 disconnect");
    machine.sh(&format!(
        "printf 'sae_pwe=2\\nnetwork={{\\nssid=\"Westwork\"\\npsk=\"%s\"\\nkey_mgmt=SAE WPA-PSK\\nieee80211w=1\\n}}\\n' '{code}' > /run/phone.conf
        ip netns exec phone wpa_supplicant -B -i wlan1 -c /run/phone.conf"
    ));
    machine.wait("joining it", 60, |m| {
        m.attempt(link).text.contains("Connected to")
    });
    // The lease: address and name server as the box gives them out.
    machine.sh("ip netns exec phone /usr/lib/klibc/bin/ipconfig -t 60 wlan1");
    let lease = machine.sh("cat /run/net-wlan1.conf");
    assert!(lease.contains("IPV4ADDR='192.168.30."), "{lease}");
    assert!(
        lease.contains(&format!("IPV4DNS0='{ACCESS_POINT}'")),
        "{lease}"
    );
    machine.sh("ip netns exec phone sysctl -qw net.ipv4.ip_forward=1
        ip netns exec phone nft add table ip side
        ip netns exec phone nft 'add chain ip side out { type nat hook postrouting priority 100; }'
        ip netns exec phone nft add rule ip side out oifname wlan1 masquerade");
}

/// Every name is the box's, and what telephones ask for to find the Internet leads to the page.
pub(crate) fn is_led_to_the_page() {
    for name in [
        "connectivitycheck.gstatic.com",
        "captive.apple.com",
        "example.net",
    ] {
        let server = format!("@{ACCESS_POINT}");
        let answer = run("dig", &["+short", "+time=10", &server, name, "A"]);
        assert_eq!(answer.trim(), ACCESS_POINT, "{name}");
    }
    for (host, path) in [
        ("connectivitycheck.gstatic.com", "/generate_204"),
        ("captive.apple.com", "/hotspot-detect.html"),
        ("www.msftconnecttest.com", "/connecttest.txt"),
        ("detectportal.firefox.com", "/canonical.html"),
    ] {
        let resolve = format!("{host}:80:{ACCESS_POINT}");
        let url = format!("http://{host}{path}");
        let format = "%{http_code} %{redirect_url}";
        let answer = run(
            "curl",
            &[
                "-s",
                "-m",
                "30",
                "--resolve",
                &resolve,
                "-o",
                "/dev/null",
                "-w",
                format,
                &url,
            ],
        );
        assert_eq!(answer, format!("302 http://{ACCESS_POINT}/"), "{url}");
    }
}
