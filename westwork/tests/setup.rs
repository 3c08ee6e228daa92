//! `westwork setup` over real HTTP, with stand-ins for the device's programs.

mod common;

use common::{Device, Setup, raw};
use std::time::{Duration, Instant};

#[test]
fn from_the_code_to_the_last_page() {
    let device = Device::new();
    let mut setup = device.start();
    assert!(setup.get("/").body.contains("Set-up code"));
    let form = setup.log_in(&device.code());
    assert!(
        form.body.contains("<h1>Set up your Westwork"),
        "{}",
        form.body
    );
    assert!(
        !form.body.contains("<script")
            && form
                .header("Content-Security-Policy")
                .starts_with("default-src 'none'")
    );
    let sent = setup.post("/form", &Setup::answers());
    assert_eq!(
        (sent.status, sent.header("Location")),
        (303, "/review"),
        "{}",
        sent.body
    );
    let review = setup.get("/review");
    assert!(review.body.contains("ada@family.example.org") && review.body.contains("Germany"));
    assert!(
        !device.path("data/conf/westwork/settings.toml").exists(),
        "nothing is written before the yes"
    );
    assert_eq!(setup.post("/begin", &[]).header("Location"), "/progress");
    let done = setup.wait_for("/done", "Your Westwork is ready");
    assert!(done.body.contains("https://family.example.org/mail/"));

    assert!(device.path("data/conf/westwork/configured").exists());
    assert_eq!(
        device.read("data/conf/nginx/nginx.conf"),
        "server_name family.example.org;\n"
    );
    let ldif = device.read("data/ldap/data.mdb");
    assert!(
        ldif.contains("dn: uid=ada,ou=people,dc=family,dc=example,dc=org\n"),
        "{ldif}"
    );
    assert!(ldif.contains("userPassword: {CRYPT}$6$rounds="));
    assert!(
        device
            .read("etc/NetworkManager/system-connections/westwork-home.nmconnection")
            .contains("psk=garden\\sgnome")
    );
    assert!(
        device
            .read("etc/modprobe.d/cfg80211.conf")
            .contains("ieee80211_regdom=DE")
    );
    assert!(
        device
            .read("data/conf/tls/fullchain.pem")
            .contains("BEGIN CERTIFICATE")
    );
    assert!(!device.path("boot/firmware/westwork-code.txt").exists());

    assert!(setup.post("/finish", &[]).body.contains("See you there"));
    assert!(setup.child.wait().unwrap().success());
    assert!(
        device
            .read("calls")
            .contains("systemctl --no-block start westwork.target")
    );
    let log = setup.log.lock().unwrap().clone() + &device.read("calls");
    for secret in [
        "correct horse",
        "garden",
        &setup.csrf,
        setup.cookie.trim_start_matches("session="),
    ] {
        assert!(!log.contains(secret), "{log}");
    }
    let everything = std::process::Command::new("grep")
        .args(["-rl", "correct horse"])
        .arg(device.root())
        .output()
        .unwrap();
    assert!(
        everything.stdout.is_empty(),
        "the password is stored in plain: {}",
        String::from_utf8_lossy(&everything.stdout)
    );
}

#[test]
fn phones_are_led_to_the_page() {
    let device = Device::new();
    let mut setup = device.start();
    let home = format!("http://{}/", setup.address);
    for (host, path) in [
        ("connectivitycheck.gstatic.com", "/generate_204"),
        ("captive.apple.com", "/hotspot-detect.html"),
        ("www.msftconnecttest.com", "/connecttest.txt"),
        ("www.msftconnecttest.com", "/redirect"),
        ("detectportal.firefox.com", "/canonical.html"),
        ("family.example.org", "/"),
    ] {
        let answer = setup.get_from(host, path);
        assert_eq!(
            (answer.status, answer.header("Location")),
            (302, home.as_str()),
            "{host}"
        );
    }
    assert_eq!(setup.get_from("westwork.local", "/").status, 200);
}

#[test]
fn strangers_get_nowhere() {
    let device = Device::new();
    let mut setup = device.start();
    for path in ["/form", "/review", "/progress", "/done"] {
        assert_eq!(setup.get(path).header("Location"), "/");
    }
    for path in ["/form", "/begin", "/again", "/finish"] {
        assert_eq!(setup.post(path, &Setup::answers()).status, 403);
    }
    assert_eq!(
        setup.post("/code", &[("code", "aaaa-aaaa-aaaa")]).status,
        403
    );
}

#[test]
fn a_form_needs_its_own_session_token_and_origin() {
    let device = Device::new();
    let mut setup = device.start();
    let answer = setup.post("/code", &[("code", &device.code().to_uppercase())]);
    let cookie = answer.header("Set-Cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    setup.get("/form");
    assert!(!setup.csrf.is_empty());
    let mut fields = Setup::answers();
    fields.push(("csrf", "wrong"));
    assert_eq!(setup.post("/form", &fields).status, 403);
    let body = format!("csrf={}", setup.csrf);
    for (host, origin) in [
        (setup.address.to_string(), "http://evil.example"),
        ("evil.example".into(), "http://evil.example"),
        (setup.address.to_string(), "null"),
    ] {
        let request = format!(
            "POST /begin HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nCookie: {}\r\nContent-Length: {}\r\n\r\n{body}",
            setup.cookie,
            body.len()
        );
        assert_eq!(
            raw(setup.address, request.as_bytes()).unwrap().status,
            403,
            "{origin}"
        );
    }
    let before = setup.cookie.clone();
    setup.log_in(&device.code());
    let after = std::mem::replace(&mut setup.cookie, before);
    assert_eq!(
        setup.get("/form").header("Location"),
        "/",
        "the session before has ended"
    );
    setup.cookie = after;
    assert_eq!(setup.get("/form").status, 200);
}

#[test]
fn wrong_answers_are_shown_beside_their_fields() {
    let device = Device::new();
    let mut setup = device.start();
    setup.log_in(&device.code());
    let long = format!("{}.org", "a".repeat(300));
    for domain in [
        "",
        "a;b.org",
        "$(id).org",
        "a,dc=b.org",
        "192.168.30.1",
        "<b>.org",
        &long,
    ] {
        let mut fields = Setup::answers();
        fields[0].1 = domain;
        let answer = setup.post("/form", &fields);
        assert_eq!(answer.status, 422, "{domain}");
        assert!(
            answer.body.contains("id=\"domain-text\"")
                && answer.body.contains("aria-invalid=\"true\"")
        );
        assert!(
            !answer.body.contains("<b>.org")
                && !answer.body.contains("correct horse")
                && !answer.body.contains("garden gnome")
        );
        assert!(answer.body.contains("value=\"Ada Lovelace\""));
    }
    for (field, value, part) in [
        (1, "", "Enter a name."),
        (2, "root", "needed by the system"),
        (3, "short", "at least 10"),
        (4, "other", "not the same"),
        (5, "", "Choose the country"),
        (7, "short", "8 to 63"),
        (8, "lets-encrypt", "Enter an e-mail address"),
    ] {
        let mut fields = Setup::answers();
        fields[field].1 = value;
        let answer = setup.post("/form", &fields);
        assert!(
            answer.status == 422 && answer.body.contains(part),
            "{part}: {}",
            answer.body
        );
    }
    assert!(!device.path("data/conf/westwork/settings.toml").exists());
}

#[test]
fn malformed_and_oversized_requests_are_refused_and_slow_ones_end() {
    let device = Device::new();
    let setup = device.start();
    let host = format!("Host: {}\r\n", setup.address);
    let long = format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(20_000));
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("DELETE / HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("POST /code HTTP/1.1\r\n{host}\r\n"), 411),
        (
            format!("POST /code HTTP/1.1\r\n{host}Content-Length: 999999\r\n\r\n"),
            413,
        ),
        (
            format!("POST /code HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"),
            400,
        ),
        (
            format!("POST /code HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
            411,
        ),
    ];
    for (request, status) in cases {
        assert_eq!(
            raw(setup.address, request.as_bytes()).unwrap().status,
            status,
            "{request}"
        );
    }
    assert!(raw(setup.address, long.as_bytes()).is_none_or(|answer| answer.status == 431));
    let start = Instant::now();
    assert_eq!(raw(setup.address, b"GET / HT").unwrap().status, 408);
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_refusing_service_is_named_and_the_set_up_goes_on_afterwards() {
    let device = Device::new();
    device.program("usr/sbin/nginx", "echo 'unknown directive'\nexit 1");
    let mut setup = device.start();
    setup.log_in(&device.code());
    setup.post("/form", &Setup::answers());
    setup.get("/review");
    setup.post("/begin", &[]);
    let failed = setup.wait_for("/progress", "That did not work");
    assert!(
        failed
            .body
            .contains("nginx refuses its configuration: unknown directive"),
        "{}",
        failed.body
    );
    assert!(
        !device.path("data/conf/nginx/nginx.conf").exists()
            && !device.path("data/conf/westwork/configured").exists()
    );
    assert_eq!(setup.get("/form").status, 200);
    setup.get("/progress");
    device.program("usr/sbin/nginx", "exit 0");
    assert_eq!(setup.post("/again", &[]).status, 303);
    setup.wait_for("/done", "Your Westwork is ready");
}

/// The first moments are those of single steps, the later ones at random distances.
#[test]
fn killed_at_any_moment_it_goes_on_or_begins_again() {
    for round in 0..14_u64 {
        let device = Device::new();
        let mut setup = device.start();
        setup.log_in(&device.code());
        setup.post("/form", &Setup::answers());
        setup.get("/review");
        setup.post("/begin", &[]);
        std::thread::sleep(Duration::from_millis(round * 9));
        setup.child.kill().unwrap();
        setup.child.wait().unwrap();
        if device.path("data/conf/westwork/configured").exists() {
            assert!(device.read("data/ldap/data.mdb").contains("uid=ada"));
            assert_eq!(
                device.read("data/conf/nginx/nginx.conf"),
                "server_name family.example.org;\n"
            );
            continue;
        }
        let mut setup = device.start();
        let code = device.code();
        if setup.post("/code", &[("code", &code)]).status != 303 {
            // It went on by itself and is done: the code is gone, the old one is still good here.
            assert!(
                device.path("data/conf/westwork/configured").exists(),
                "round {round}"
            );
            continue;
        }
        setup.wait_for("/done", "Your Westwork is ready");
        assert!(device.read("data/ldap/data.mdb").contains("uid=ada"));
    }
}

/// Each step is stopped once by a program of its own that kills the set-up.
#[test]
fn killed_within_each_step_it_goes_on_by_itself() {
    for program in [
        "usr/bin/openssl",
        "usr/sbin/nginx",
        "usr/sbin/slapadd",
        "usr/sbin/iw",
        "usr/bin/nmcli",
    ] {
        let device = Device::new();
        let kept = device.path(program).with_extension("kept");
        std::fs::rename(device.path(program), &kept).unwrap();
        device.program(program, "kill -9 $(cat \"$R/pid\")\nexit 1");
        let mut setup = device.start();
        device.write("pid", &setup.child.id().to_string());
        setup.log_in(&device.code());
        setup.post("/form", &Setup::answers());
        setup.get("/review");
        setup.post("/begin", &[]);
        assert!(!setup.child.wait().unwrap().success());
        assert!(
            !device.path("data/conf/westwork/configured").exists(),
            "{program}"
        );
        std::fs::rename(&kept, device.path(program)).unwrap();
        let _setup = device.start();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !device.path("data/conf/westwork/configured").exists() {
            assert!(Instant::now() < deadline, "{program}");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(device.read("data/ldap/data.mdb").contains("uid=ada"));
    }
}
