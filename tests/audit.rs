//! `westwork-gen audit`: what is found, by which version, what is said of it, and how it ends. The
//! tracker's data is made up, in the form that the tracker documents.

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;
#[path = "common/schemas.rs"]
mod schemas;
#[path = "audit/truth.rs"]
mod truth;

use card::{code, image, said, text, tree, westwork};
use need::need;
use schemas::{assert_valid, json, printed, schema};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use truth::{FAULTS, FOUND, INSTALLED, status, tracker};

const TOOLS: [&str; 4] = ["mke2fs", "mkfs.fat", "mcopy", "sfdisk"];

/// An image with these packages and the tracker's data, in `dir`.
fn prepared(dir: &Path) -> (PathBuf, PathBuf) {
    let root = dir.join("root");
    tree(&root);
    fs::write(root.join("var/lib/dpkg/status"), status()).unwrap();
    fs::write(
        root.join("usr/lib/os-release"),
        "ID=debian\nVERSION_CODENAME=trixie\n",
    )
    .unwrap();
    fs::create_dir_all(root.join("opt/app/lib/python3.13/site-packages/Some_Wheel-1.0.dist-info"))
        .unwrap();
    let data = dir.join("tracker.json");
    fs::write(&data, tracker().to_string()).unwrap();
    (image(&root, dir, "a"), data)
}

/// A westwork.lock beside which there is no image.
fn lock(dir: &Path) -> PathBuf {
    let path = dir.join("westwork.lock");
    let packages = "{ name = \"libssl3t64\", version = \"3.5.1-1+b1\", architecture = \"arm64\", size = 1, sha256 = \"00\", source = \"security\", path = \"pool/updates/main/o/openssl/libssl3t64_3.5.1-1+b1_arm64.deb\" }";
    let root = |purpose: &str| {
        format!(
            "[[root]]\nuse = \"{purpose}\"\nsuite = \"trixie\"\narchitecture = \"arm64\"\narchive = \"x\"\ndate = 1\npackages = [{packages}]\n"
        )
    };
    fs::write(
        &path,
        format!(
            "version = 1\n{}{}",
            root("image"),
            root("tools").replace("openssl", "bash")
        ),
    )
    .unwrap();
    path
}

/// `audit --json` of something, by this data.
fn audited(args: &[&str], wanted: i32) -> Value {
    let out = westwork(
        &[
            &["audit", "--json", "--offline", "--on", "2026-11-27"],
            args,
        ]
        .concat(),
    );
    assert_eq!(code(&out), wanted, "{args:?}: {}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn names(audit: &Value) -> Vec<String> {
    let findings = audit["findings"].as_array().unwrap().iter();
    let name = |it: &Value| {
        format!(
            "{} {}",
            it["name"].as_str().unwrap(),
            it["id"].as_str().unwrap()
        )
    };
    findings
        .map(name)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn finding<'a>(audit: &'a Value, id: &str) -> &'a Value {
    audit["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["id"] == id)
        .unwrap()
}

/// OSV's export as a folder.
fn osv(dir: &Path) -> PathBuf {
    let osv = dir.join("osv");
    fs::create_dir(&osv).unwrap();
    let entry = |id: &str, alias: &str, package: Value| {
        let text = json!({"id": id, "modified": "2026-11-01T00:00:00Z", "aliases": [alias], "summary": "s",
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
            "affected": [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]}]});
        fs::write(osv.join(format!("{id}.json")), text.to_string()).unwrap();
    };
    entry(
        "GHSA-1",
        "CVE-2026-5000",
        json!({"ecosystem": "PyPI", "name": "some-wheel"}),
    );
    entry(
        "PYSEC-1",
        "CVE-2026-5000",
        json!({"ecosystem": "PyPI", "name": "some_wheel"}),
    );
    entry(
        "GHSA-2",
        "CVE-2026-0001",
        json!({"ecosystem": "npm", "name": "openssl"}),
    );
    osv
}

#[test]
fn what_is_vulnerable_is_found_by_source_and_version() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let (image, data) = prepared(dir.path());
    let osv = osv(dir.path());
    let args = [text(&image), "--debian", text(&data), "--osv", text(&osv)];
    let audit = audited(&args, 0);
    assert_valid(&printed("audit"), &audit);
    let mut expected: Vec<String> = FOUND.map(str::to_owned).into();
    expected.push("some-wheel GHSA-1".to_owned());
    expected.sort();
    assert_eq!(names(&audit), expected);
    let is = |id: &str, key: &str, value: &str| {
        assert_eq!(finding(&audit, id)[key], value, "{id} {key}")
    };
    is("CVE-2026-0001", "fixed_in", "security");
    is("CVE-2026-0001", "severity", "critical"); // OSV's word for the same identifier.
    is("CVE-2026-0004", "fixed_in", "release");
    is("CVE-2026-0004", "severity", "high");
    assert!(finding(&audit, "CVE-2026-0005")["fixed_version"].is_null());
    is("CVE-2026-0006", "no_dsa", "postponed: Minor issue");
    assert_eq!(
        finding(&audit, "CVE-2026-0007")["packages"],
        json!(["foo-data"])
    );
    is("CVE-2026-0009", "compared_as", "5.82-1.1");
    is("CVE-2026-0010", "compared_as", "6.12.25-1");
    is("CVE-2026-0016", "version", "1.220");
    let wheel = finding(&audit, "GHSA-1");
    assert_eq!(
        (&wheel["version"], &wheel["fixed_version"]),
        (&json!("1.0"), &json!("1.1"))
    );
    assert_eq!(wheel["aliases"], json!(["CVE-2026-5000", "PYSEC-1"]));

    // Again, and at another time: the same bytes.
    let bytes = || westwork(&[&["audit", "--json", "--offline"], &args[..]].concat()).stdout;
    assert_eq!(bytes(), bytes());
    // An address is fetched once; then no network is needed.
    let cache = dir.path().join("cache");
    let url = format!("file://{}", text(&data));
    let fetched = [
        text(&image),
        "--debian",
        &url,
        "--osv",
        text(&osv),
        "--cache",
        text(&cache),
    ];
    assert_eq!(
        code(&westwork(&[&["audit", "--offline"], &fetched[..]].concat())),
        2
    );
    if need::tools(&["/usr/lib/apt/apt-helper"]).is_ok() {
        let out = westwork(&[&["audit", "--json"], &fetched[..]].concat());
        assert_eq!(code(&out), 0, "{}", said(&out));
        fs::remove_file(&data).unwrap();
        let again = westwork(&[&["audit", "--json", "--offline"], &fetched[..]].concat());
        assert_eq!(code(&again), 0, "{}", said(&again));
        assert!(again.stdout == out.stdout);
        // Nothing is there: one line, and nothing is left.
        let gone = format!("file://{}", text(&dir.path().join("gone.json")));
        let out = westwork(&[
            "audit",
            text(&image),
            "--debian",
            &gone,
            "--cache",
            text(&cache),
        ]);
        let said = said(&out);
        let told: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("fetching "))
            .collect();
        assert!(
            code(&out) == 2 && told.len() == 1 && told[0].contains("cannot be fetched: "),
            "{said}"
        );
        assert!(told[0].contains("name the file: --debian FILE"), "{said}");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 2);
    }
}

#[test]
fn bills_and_locks_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tracker.json");
    fs::write(&data, tracker().to_string()).unwrap();
    let encoded = |version: &str| version.replace('+', "%2B");
    let url = |name: &str, version: &str, arch: &str| {
        format!(
            "pkg:deb/debian/{name}@{}?arch={arch}&distro=trixie",
            encoded(version)
        )
    };
    let source = |(name, source, version): (&str, &str, &str)| -> (String, String) {
        match source.split_once(" (") {
            Some((source, version)) => {
                (source.to_owned(), version.trim_end_matches(')').to_owned())
            }
            None => (
                if source.is_empty() { name } else { source }.to_owned(),
                version.to_owned(),
            ),
        }
    };
    let components = INSTALLED.map(|it| {
        let (name, version) = source(it);
        json!({"type": "library", "name": it.0, "version": it.2, "purl": url(it.0, it.2, "arm64"),
            "pedigree": {"ancestors": [{"type": "library", "name": name, "version": version}]}})
    });
    let bom = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components,
        "metadata": {"component": {"type": "operating-system", "name": "a", "hashes": [{"alg": "SHA-256", "content": "00"}]}}});
    let cdx = dir.path().join("a.cdx.json");
    fs::write(&cdx, bom.to_string()).unwrap();
    let of_cdx = audited(&[text(&cdx), "--debian", text(&data)], 0);
    assert_eq!(names(&of_cdx), FOUND);
    assert_eq!(of_cdx["subject"]["sha256"], "00");

    let mut packages = Vec::new();
    let mut relations = Vec::new();
    for it in INSTALLED {
        let (name, version) = source(it);
        packages.push(json!({"SPDXID": format!("SPDXRef-{}", it.0), "name": it.0, "versionInfo": it.2,
            "externalRefs": [{"referenceType": "purl", "referenceLocator": url(it.0, it.2, "arm64")}]}));
        packages.push(json!({"SPDXID": format!("SPDXRef-S-{name}"), "name": name, "versionInfo": version,
            "externalRefs": [{"referenceType": "purl", "referenceLocator": url(&name, &version, "source")}]}));
        relations.push(json!({"spdxElementId": format!("SPDXRef-{}", it.0), "relationshipType": "GENERATED_FROM",
            "relatedSpdxElement": format!("SPDXRef-S-{name}")}));
    }
    let spdx = dir.path().join("a.spdx.json");
    fs::write(&spdx, json!({"spdxVersion": "SPDX-2.3", "name": "a", "packages": packages, "relationships": relations}).to_string()).unwrap();
    assert_eq!(
        names(&audited(&[text(&spdx), "--debian", text(&data)], 0)),
        FOUND
    );

    let of_lock = audited(&[text(&lock(dir.path())), "--debian", text(&data)], 0);
    assert_eq!(names(&of_lock), ["openssl CVE-2026-0001"]);
    let cargo = dir.path().join("Cargo.lock");
    fs::write(&cargo, "version = 4\n[[package]]\nname = \"own\"\nversion = \"1.0.0\"\n[[package]]\nname = \"bad\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n").unwrap();
    let osv = osv(dir.path());
    let entry = json!({"id": "RUSTSEC-1", "modified": "2026-11-01T00:00:00Z", "affected": [{"package": {"ecosystem": "crates.io", "name": "bad"},
        "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "1.0.1"}]}]}]});
    fs::write(osv.join("RUSTSEC-1.json"), entry.to_string()).unwrap();
    assert_eq!(
        names(&audited(&[text(&cargo), "--osv", text(&osv)], 0)),
        ["bad RUSTSEC-1"]
    );
}

#[test]
fn statements_count_until_they_expire_and_documents_hold_by_their_schemas() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tracker.json");
    let mut truth = tracker();
    truth["openssl"]["CVE-2026-0020"] =
        json!({"releases": {"trixie": {"status": "undetermined", "urgency": "not yet assigned"}}});
    fs::write(&data, truth.to_string()).unwrap();
    let lock = lock(dir.path());
    let vex = dir.path().join("vex.toml");
    let statement = |expires: &str| {
        format!(
            "[[statement]]\nvulnerability = [\"CVE-2026-0001\"]\npackage = \"openssl\"\nstatus = \"not_affected\"\n\
                 justification = \"vulnerable_code_not_in_execute_path\"\nreason = \"it is never started\"\nauthor = \"Jo\"\nexpires = {expires}\n\n\
                 [[statement]]\nvulnerability = \"CVE-1999-0001\"\nstatus = \"fixed\"\nreason = \"r\"\nauthor = \"Jo\"\nexpires = 2030-01-01\n"
        )
    };
    let (cdx, open) = (
        dir.path().join("vex.cdx.json"),
        dir.path().join("vex.openvex.json"),
    );
    let args = [
        text(&lock),
        "--debian",
        text(&data),
        "--fail",
        "severity>=high,fixed",
        "--cyclonedx",
        text(&cdx),
        "--openvex",
        text(&open),
    ];
    let state = || {
        assert_valid(&schema("bom-1.6.schema.json"), &json(&cdx));
        assert_valid(&schema("openvex-0.2.0.schema.json"), &json(&open));
        let of = |id: &str| {
            let all = json(&cdx)["vulnerabilities"].as_array().unwrap().clone();
            let one = all.into_iter().find(|it| it["id"] == id).unwrap();
            one["analysis"]["state"].as_str().unwrap().to_owned()
        };
        let statements = json(&open)["statements"].as_array().unwrap().clone();
        let open = statements
            .into_iter()
            .find(|it| it["vulnerability"]["name"] == "CVE-2026-0001")
            .unwrap();
        (
            of("CVE-2026-0001"),
            of("CVE-2026-0020"),
            open["status"].as_str().unwrap().to_owned(),
        )
    };
    let states = |a: &str, b: &str| (a.to_owned(), "in_triage".to_owned(), b.to_owned());
    // Nobody has said how severe it is, and there is a fix: that fails.
    let audit = audited(&args, 1);
    assert_eq!(finding(&audit, "CVE-2026-0001")["fails"], true);
    assert_eq!(finding(&audit, "CVE-2026-0020")["fails"], false);
    assert_eq!(state(), states("exploitable", "affected"));

    fs::write(&vex, statement("2026-11-27")).unwrap();
    let audit = audited(&args, 0);
    assert_eq!(
        finding(&audit, "CVE-2026-0001")["statement"]["author"],
        "Jo"
    );
    assert!(
        audit["notes"]
            .to_string()
            .contains("vex.toml:10: the statement is about nothing"),
        "{}",
        audit["notes"]
    );
    assert_eq!(state(), states("not_affected", "not_affected"));
    let (first, second) = (fs::read(&cdx).unwrap(), fs::read(&open).unwrap());
    audited(&args, 0);
    assert_eq!(
        (first, second),
        (fs::read(&cdx).unwrap(), fs::read(&open).unwrap())
    );

    fs::write(&vex, statement("2026-11-26")).unwrap();
    let audit = audited(&args, 1);
    assert!(
        audit["notes"]
            .to_string()
            .contains("counts no longer since 2026-11-26"),
        "{}",
        audit["notes"]
    );
    assert_eq!(state(), states("exploitable", "affected"));

    let vex_schema = printed("vex");
    let as_json = json!({"statement": [{"vulnerability": "CVE-1", "status": "fixed", "reason": "r", "author": "a", "expires": "2026-01-01"}]});
    assert_valid(&vex_schema, &as_json);
    assert!(
        !vex_schema
            .is_valid(&json!({"statement": [{"vulnerability": "CVE-1", "status": "fixed"}]}))
    );
}

#[test]
fn what_cannot_be_said_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let data = file("tracker.json", &tracker().to_string());
    let lock = lock(dir.path());
    let bad = file("bad.json", "{\"openssl\": 3}");
    let bill = file("bill.json", "{}");
    let empty = file("empty.lock", "version = 1\n");
    let vex = file("bad-vex.toml", "[[statement]]\nvulnerability = \"CVE-1\"\n");
    let (lock, data) = (text(&lock), text(&data));
    for (args, expected) in [
        (
            vec![lock, "--debian", text(&bad)],
            "not the data of Debian's security tracker",
        ),
        (
            vec![lock, "--debian", "nowhere.json"],
            "nowhere.json: is not there; correct",
        ),
        (
            vec![lock, "--debian", data, "--suite", "etch"],
            "says nothing about the release etch",
        ),
        (
            vec![lock, "--debian", data, "--fail", "severity>=bad"],
            "which is no condition; write",
        ),
        (
            vec![lock, "--debian", data, "--vex", text(&vex)],
            "bad-vex.toml:1: missing field",
        ),
        (
            vec![lock, "--debian", data, "--osv", data],
            "it is neither a folder nor a zip",
        ),
        (
            vec![text(&bill), "--debian", data],
            "this is no bill of materials; name",
        ),
        (
            vec![text(&empty), "--debian", data],
            "no package, wheel or crate is in it",
        ),
    ] {
        let out = westwork(&[&["audit", "--offline"], &args[..]].concat());
        assert_eq!(code(&out), 2, "{args:?}: {}", said(&out));
        assert!(said(&out).contains(expected), "{args:?}: {}", said(&out));
    }
    // A misspelt condition is told before an image is unpacked or anything is fetched.
    let out = westwork(&["audit", "nowhere.img.zst", "--fail", "fxied"]);
    assert!(said(&out).contains("no condition"), "{}", said(&out));
}

#[test]
fn the_page_about_the_image_has_the_audit() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let (image, data) = prepared(dir.path());
    let audit = westwork(&[
        "audit",
        "--json",
        "--offline",
        text(&image),
        "--debian",
        text(&data),
        "--osv",
        text(&osv(dir.path())),
    ]);
    let file = dir.path().join("audit.json");
    fs::write(
        &file,
        String::from_utf8(audit.stdout)
            .unwrap()
            .replace("a fault of foo", "<script>foo"),
    )
    .unwrap();
    let page = dir.path().join("page.html");
    let out = westwork(&[
        "report",
        text(&image),
        "-o",
        text(&page),
        "--audit",
        text(&file),
    ]);
    assert_eq!(code(&out), 0, "{}", said(&out));
    let html = fs::read_to_string(&page).unwrap();
    for expected in [
        "Known vulnerabilities",
        "CVE-2026-0001",
        "3.5.1-1+deb13u1 (security)",
        "&lt;script&gt;foo",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    let out = westwork(&[
        "report",
        text(&image),
        "-o",
        text(&page),
        "--audit",
        text(&data),
    ]);
    assert!(
        code(&out) == 2 && said(&out).contains("this is no audit"),
        "{}",
        said(&out)
    );
}

/// debsecan finds the same in the same root, by data of its own form made of the same truth. It knows
/// nothing of forks.
#[test]
#[ignore = "on request: it needs debsecan"]
fn debsecan_finds_the_same() {
    need!(need::tools(&["debsecan", "python3"]));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (mut ids, mut lines) = (String::new(), String::new());
    let of_debian = FAULTS
        .iter()
        .filter(|it| it.0 != "linux" && it.0 != "bluez" && it.2 != Some("0"));
    for (number, (source, id, fixed, ..)) in of_debian.enumerate() {
        ids += &format!("{id},,a fault\n");
        // A source package, no urgency, remote, whether there is a fix; the first version without it.
        let has_fix = if fixed.is_some() { 'F' } else { ' ' };
        lines += &format!("{source},{number},S R{has_fix},{},\n", fixed.unwrap_or(""));
    }
    fs::write(path("plain"), format!("VERSION 1\n{ids}\n{lines}\n")).unwrap();
    fs::write(path("status"), status()).unwrap();
    let pack = "import sys,zlib;open(sys.argv[2],'wb').write(zlib.compress(open(sys.argv[1],'rb').read()))";
    let packed = Command::new("python3")
        .args(["-c", pack])
        .arg(path("plain"))
        .arg(path("trixie"))
        .status();
    assert!(packed.unwrap().success());
    let out = Command::new("debsecan")
        .args(["--suite", "trixie", "--format", "simple", "--source"])
        .arg(format!("file://{}", dir.path().display()))
        .arg("--status")
        .arg(path("status"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let source = |package: &str| {
        let (name, source, _) = INSTALLED.iter().find(|it| it.0 == package).unwrap();
        if source.is_empty() {
            (*name).to_owned()
        } else {
            source.split(' ').next().unwrap().to_owned()
        }
    };
    let text_of = String::from_utf8(out.stdout).unwrap();
    let found: BTreeSet<String> = text_of
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, package)| format!("{} {id}", source(package)))
        .collect();
    let ours: BTreeSet<String> = FOUND
        .iter()
        .map(|it| (*it).to_owned())
        .filter(|it| !it.starts_with("linux") && !it.starts_with("bluez"))
        .collect();
    assert_eq!(found, ours, "{text_of}");
}
