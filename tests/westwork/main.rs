//! A box from its first boot to daily use: the image in QEMU, set up through the page it
//! shows, then used from outside with ordinary programs.
//!
//! `WESTWORK_TEST_IMAGE` names a finished image (.img or .img.zst) to try instead of
//! building one; with `WESTWORK_TEST_ARCH=armhf` the one of older boards is set up and used. Pictures of all pages are left in target/screenshots.

mod browser;
mod machine;
mod network;
mod owner;
mod pages;
mod people;
mod search;
mod telephone;
mod upgrade;

use browser::Browser;
use machine::{Card, Machine};
use network::{ACCESS_POINT, BOX, Network, open_ports};
use owner::Owner;
use pages::{fill_in, set_up, to_the_end};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program that must succeed, and returns its standard output.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a shell line that must succeed.
fn succeed(line: &str) -> String {
    run("sh", &["-c", line])
}

/// Where the image's packages are.
fn cache() -> PathBuf {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("WESTWORK_TEST_CACHE")
        .map_or_else(|| tree.join("target/test-cache"), PathBuf::from)
}

/// The README's first image.
fn image() -> PathBuf {
    if let Some(image) = std::env::var_os("WESTWORK_TEST_IMAGE") {
        return image.into();
    }
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    std::fs::create_dir_all(&dir).unwrap();
    // The device program's sources are part of the tree.
    for name in [
        "stages",
        "config.example",
        "westwork",
        "Cargo.toml",
        "Cargo.lock",
        "src",
    ] {
        // Copies: where links out of a tree lead is not seen by its scripts.
        let copied = Command::new("sh")
            .args(["-c", "rm -rf \"$2\" && cp -a \"$1\" \"$2\"", "copy"])
            .args([tree.join(name), dir.join(name)])
            .status();
        assert!(copied.unwrap().success(), "copying {name}");
    }
    let status = Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
        .args(["build", "-c", "config.example"])
        .args(["--set", "IMG_DATE=2026-01-31", "--set", "EXTRA_SUITES="])
        .args([
            "--set",
            if machine::is_armhf() {
                "ARCH=armhf"
            } else {
                "ARCH=arm64"
            },
        ])
        .current_dir(&dir)
        .env("CACHE_DIR", cache())
        .status()
        .unwrap();
    assert!(status.success());
    let mut images: Vec<_> = std::fs::read_dir(dir.join("deploy"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.to_str()
                .is_some_and(|path| path.ends_with(".img.zst") && !path.contains("lite"))
        })
        .collect();
    images.pop().expect("an image of stage 3")
}

const OWNER: Owner = Owner {
    domain: "family.example.org",
    user: "ada",
    name: "Ada Lovelace",
    password: "correct horse battery",
};

const NEXT_OWNER: Owner = Owner {
    domain: "other.example.net",
    user: "bob",
    name: "Bob Byron",
    password: "four words of bread",
};

#[test]
fn a_box_is_set_up_used_and_restored() {
    if let Some(why) = network::obstacle() {
        println!("SKIPPED: {why}");
        return;
    }
    // Built and fetched outside of the namespace, in which there is no network.
    let make = || {
        let image = image();
        if !machine::is_armhf() {
            upgrade::fetch(&cache());
        }
        image
    };
    let Some(image) = network::enter("a_box_is_set_up_used_and_restored", make) else {
        return;
    };
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let _network = Network::new();
    let exchange = work.path().join("exchange.img");
    run("truncate", &["-s", "2G", exchange.to_str().unwrap()]);
    run("mkfs.ext4", &["-q", exchange.to_str().unwrap()]);

    let card = Card::new(&image, &work.path().join("first"));
    let mut machine = card.boot(Some(&exchange));
    machine.booted();
    telephone::listens(&mut machine);
    telephone::joins(&mut machine);
    if machine::is_armhf() {
        // What follows is the same for every processor, and takes twice as long with this one.
        set_up(&mut machine, &OWNER);
        OWNER.uses_everything();
        machine.nothing_failed();
        return machine.power_off();
    }
    before_set_up();
    set_up(&mut machine, &OWNER);
    OWNER.uses_everything();
    people::come_and_go(&mut machine, &OWNER);
    after_set_up();
    machine.nothing_failed();
    machine.sh(
        "mount /dev/vdb /mnt && westwork backup-key > /mnt/box.key && westwork backup /mnt/box.backup && umount /mnt",
    );
    machine.power_off();

    // The same box, and newer packages.
    let disk = upgrade::disk(&cache(), work.path());
    let mut machine = card.boot(Some(&disk));
    machine.booted();
    in_normal_use(&mut machine);
    upgrade::upgrade(&mut machine);
    machine.nothing_failed();
    OWNER.web();
    OWNER.mail("after the upgrade");
    OWNER.directory();
    println!("upgraded");
    machine.power_off();

    // Another box, fresh from the image.
    let card = Card::new(&image, &work.path().join("second"));
    let before = search::hits(&card.image, &WORDS);
    println!("words of the household that are in the image: {before:#?}");
    let mut machine = card.boot(Some(&exchange));
    machine.booted();
    machine.sh(
        "mount /dev/vdb /mnt && westwork restore /mnt/box.backup --key-file /mnt/box.key && umount /mnt",
    );
    in_normal_use(&mut machine);
    machine.nothing_failed();
    OWNER.finds_everything_again();
    machine.nothing_failed();
    println!("restored");
    machine.sh("touch /boot/firmware/westwork-reset");
    machine.power_off();

    given_away(&card, &before);
}

/// Words of the first household. Where the image itself has one, in an example, is known before.
const WORDS: [&str; 10] = [
    OWNER.domain,
    OWNER.name,
    "hello from the test",
    "after the restore",
    "dc=family",
    "uid=ada",
    "@ada:",
    "ada@family",
    OWNER.password,
    "quite another one",
];

/// After a factory reset, to a household with another domain. Nothing of the first one is left, in
/// files or anywhere else on the card.
fn given_away(card: &Card, image: &[String]) {
    let mut machine = card.boot(None);
    machine.booted();
    nothing_is_left(&mut machine);
    machine.power_off();
    let left = search::hits(&card.image, &WORDS);
    let left: Vec<_> = left.iter().filter(|hit| !image.contains(hit)).collect();
    let begin: Vec<_> = left.iter().take(200).collect();
    assert!(left.is_empty(), "{} on the card: {begin:#?}", left.len());
    println!("nothing of the household is on the card");

    let mut machine = card.boot(None);
    machine.booted();
    telephone::joins(&mut machine);
    set_up(&mut machine, &NEXT_OWNER);
    NEXT_OWNER.web();
    NEXT_OWNER.mail("of another household");
    machine.nothing_failed();
    machine.power_off();
}

/// After a factory reset, in all files but the image's programs, which have examples in them.
fn nothing_is_left(machine: &mut Machine) {
    let words: String = WORDS.iter().map(|word| format!(" -e '{word}'")).collect();
    let found = machine.sh(&format!(
        "grep -rlFas{words} / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev --exclude-dir=usr \
         --exclude-dir=opt --exclude=test.in || true"
    ));
    assert_eq!(found.trim(), "", "the former household is still in files");
}

/// Seconds after the owner's yes; the whole set-up takes some twenty-five here.
const MOMENTS: [u64; 9] = [0, 2, 4, 7, 10, 13, 16, 19, 22];

#[test]
#[ignore = "half an hour"]
fn power_may_be_cut_at_any_moment_of_the_set_up() {
    if let Some(why) = network::obstacle() {
        println!("SKIPPED: {why}");
        return;
    }
    let test = "power_may_be_cut_at_any_moment_of_the_set_up";
    let Some(image) = network::enter(test, image) else {
        return;
    };
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let _network = Network::new();
    // What only the first boot does is not tried here.
    let base = Card::new(&image, &work.path().join("base"));
    let mut machine = base.boot(None);
    machine.booted();
    let code = machine.code();
    machine.power_off();

    let changes = work.path().join("changes.qcow2");
    let mut machine = base
        .with_changes(&changes, &work.path().join("run"))
        .boot(None);
    machine.booted();
    let begin = std::time::Instant::now();
    let copy = |number: usize| work.path().join(format!("cut-{number}.qcow2"));
    let browser = Browser::new(BOX, (390, 844));
    browser.open(&format!("http://{BOX}/"));
    fill_in(&browser, code.trim(), &OWNER);
    browser.press("main button");
    println!("said yes after {} s", begin.elapsed().as_secs());
    // The clock stands still for the box while its card is copied.
    let mut at = 0;
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        std::thread::sleep(std::time::Duration::from_secs(moment - at));
        at = moment;
        machine.as_if_cut(&changes, &copy(number));
    }
    // The set-up was under way all the time, and the last cut is one by force.
    browser.wait("the set-up", 120, |browser| {
        browser.url().ends_with("/done")
    });
    drop(browser);
    drop(machine);
    std::fs::rename(&changes, copy(MOMENTS.len())).unwrap();

    let mut ways = std::collections::BTreeSet::new();
    for number in 0..=MOMENTS.len() {
        let dir = work.path().join(format!("run-{number}"));
        let mut machine = base.with_changes(&copy(number), &dir).boot(None);
        // Before any service of the box can have changed it.
        let is_configured = "test -e /data/conf/westwork/configured";
        let was_configured = machine.attempt(is_configured).code == 0;
        let state = "cat /data/conf/westwork/state.toml 2>/dev/null || echo fresh";
        let state = machine.attempt(state).text.replace('\n', " ");
        machine.booted();
        let how = if was_configured {
            "was configured"
        } else if state.contains("running") {
            machine.wait("the rest of the set-up", 120, |m| {
                let failed = m.attempt("cat /data/conf/westwork/state.toml; journalctl -b -o cat -u westwork-setup").text;
                assert!(!failed.contains("failed"), "after {state}: {failed}");
                m.attempt(is_configured).code == 0
            });
            machine.sh("systemctl --no-block start westwork.target");
            "went on by itself"
        } else {
            let code = machine.code();
            let browser = Browser::new(BOX, (390, 844));
            browser.open(&format!("http://{BOX}/"));
            fill_in(&browser, code.trim(), &OWNER);
            to_the_end(&browser);
            "was set up again"
        };
        in_normal_use(&mut machine);
        machine.nothing_failed();
        OWNER.web();
        OWNER.mail("after the cut");
        OWNER.directory();
        println!("cut {number}: {how} ({state})");
        ways.insert(how);
    }
    assert!(
        ways.contains("went on by itself") && ways.contains("was configured"),
        "{ways:?}"
    );
}

/// What a stranger in radio range sees: DHCP, DNS and the page.
fn before_set_up() {
    let (air, cable) = ([53, 80], [80]);
    assert_eq!(open_ports(ACCESS_POINT, &air), air, "from the Wi-Fi side");
    assert_eq!(open_ports(BOX, &cable), cable, "from the home network");
    // UDP: a closed port says so, a filtered one says nothing; both have to be quiet.
    let udp = run(
        "nmap",
        &[
            "-n",
            "-Pn",
            "-sU",
            "-p",
            "53,67,69,123,137,161,389,1900,5353",
            "--reason",
            ACCESS_POINT,
        ],
    );
    let open: Vec<_> = udp
        .lines()
        .filter(|line| line.contains("/udp") && line.contains(" open "))
        .collect();
    assert!(
        open.iter()
            .all(|line| line.starts_with("53/") || line.starts_with("67/")),
        "{open:?}"
    );
    assert!(open.iter().any(|line| line.starts_with("53/")), "{udp}");
    telephone::is_led_to_the_page();
}

/// Waits until all services have been started.
fn in_normal_use(machine: &mut Machine) {
    machine.wait("normal use", 600, |m| {
        let jobs = "systemctl is-active westwork.target; systemctl list-jobs --no-legend";
        m.attempt(jobs).text.trim() == "active"
    });
}

/// What is meant to be reached from the home network, and nothing else.
fn after_set_up() {
    let meant = [22, 25, 80, 443, 465, 587, 993, 8448];
    let open = open_ports(BOX, &meant);
    for port in [25, 80, 443, 465, 993] {
        assert!(open.contains(&port), "port {port} is closed: {open:?}");
    }
    let others: Vec<_> = open.iter().filter(|port| !meant.contains(port)).collect();
    assert!(others.is_empty(), "open, and not meant to be: {others:?}");
    assert!(
        open_ports(ACCESS_POINT, &[53, 80]).is_empty(),
        "the set-up network is still there"
    );
}
