//! What `westwork-gen flash` takes for an image, and what it judges before it writes.

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;

use card::{code, image, image_of, run, said, text, tree, westwork, with_imager};
use need::{need, tools};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use westwork_gen::config::RootKind;

const TOOLS: [&str; 4] = ["mke2fs", "mkfs.fat", "mcopy", "sfdisk"];

/// A card with a byte in it that must not change.
fn card(dir: &Path) -> PathBuf {
    let card = dir.join("card");
    let file = File::create(&card).unwrap();
    file.set_len(200 << 20).unwrap();
    file.write_all_at(&[0xa5; 4096], 0).unwrap();
    card
}

/// Flashes `image` to an old card with these arguments; it must be refused with the card as it
/// was. Returns what was said.
fn refused(dir: &Path, image: &Path, args: &[&str]) -> String {
    let card = card(dir);
    let all = [&["flash", "--yes", text(image), text(&card)], args].concat();
    let out = westwork(&all);
    assert!(matches!(code(&out), 1 | 2), "{all:?}: {}", said(&out));
    let mut head = [0; 4096];
    File::open(&card)
        .unwrap()
        .read_exact_at(&mut head, 0)
        .unwrap();
    assert!(head == [0xa5; 4096], "{all:?} wrote: {}", said(&out));
    said(&out)
}

/// Flashes `image` to a new file, which must become `wanted`. Returns what was said.
fn becomes(dir: &Path, image: &Path, wanted: &Path, args: &[&str]) -> String {
    let new = dir.join("new");
    let _ = fs::remove_file(&new);
    let all = [&["flash", text(image), text(&new)], args].concat();
    let out = westwork(&all);
    assert_eq!(code(&out), 0, "{all:?}: {}", said(&out));
    let same = fs::read(&new).unwrap() == fs::read(wanted).unwrap();
    assert!(same, "{all:?}");
    said(&out)
}

/// A small image: a FAT with a command line, and an empty ext4.
fn small(dir: &Path, name: &str) -> PathBuf {
    let disk = dir.join(name);
    File::create(&disk).unwrap().set_len(24 << 20).unwrap();
    let script = "label: dos\nlabel-id: 0x11223344\nstart=2048,size=16384,type=c\nstart=18432,size=16384,type=83\n";
    run(
        "sh",
        &[
            "-c",
            &format!("printf '{script}' | sfdisk -q {}", text(&disk)),
        ],
    );
    let fat = format!("{}@@1M", text(&disk));
    run("mkfs.fat", &["--offset", "2048", text(&disk), "8192"]);
    let line = dir.join("cmdline.txt");
    fs::write(&line, "root=PARTUUID=11223344-02\n").unwrap();
    run("mcopy", &["-i", &fat, text(&line), "::"]);
    let options = [
        "-q",
        "-t",
        "ext4",
        "-E",
        "offset=9437184",
        text(&disk),
        "8M",
    ];
    run("mke2fs", &options);
    disk
}

#[test]
fn every_way_of_packing_an_image_is_unpacked_or_named() {
    need!(tools(&TOOLS));
    need!(tools(&["zstd", "xz", "gzip", "zip", "bzip2"]));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let raw = small(dir, "a.img");
    let shell = |line: &str| run("sh", &["-c", &format!("cd {} && {line}", text(dir))]);
    // A frame to skip in front, as pzstd makes it; packed twice; packed in a zip.
    shell(
        "printf '\\120\\052\\115\\030\\004\\000\\000\\000ABCD' > skip.img.zst && zstd -qc a.img >> skip.img.zst",
    );
    shell("gzip -c a.img | gzip -c > twice.img.gz");
    shell("xz -k0 a.img && zip -q artifact.zip a.img.xz");
    shell(
        "echo hello > README.txt && cp a.img system.wic && zip -q beside.zip README.txt system.wic",
    );
    shell("mkdir __MACOSX && echo x > __MACOSX/._a.img && zip -q mac.zip __MACOSX/._a.img a.img");
    shell(
        "cp a.img SYSTEM.IMG && zip -q large.zip README.txt SYSTEM.IMG && zip -qj only.zip system.wic",
    );
    for packed in [
        "skip.img.zst",
        "twice.img.gz",
        "artifact.zip",
        "beside.zip",
        "mac.zip",
        "large.zip",
        "only.zip",
    ] {
        becomes(dir, &dir.join(packed), &raw, &[]);
    }
    let report = said(&westwork(&["inspect", text(&dir.join("skip.img.zst"))]));
    assert!(report.contains("11223344"), "{report}");

    shell("zip -q two.zip a.img system.wic && zip -q none.zip README.txt cmdline.txt");
    shell("printf 'PK\\005\\006' > empty.zip && head -c 18 /dev/zero >> empty.zip");
    shell(
        "bzip2 -k a.img && cp a.img.bz2 named.img && zip -q inner.zip a.img && zip -q outer.zip inner.zip",
    );
    shell("gzip -c twice.img.gz > thrice.img.gz && tar -czf a.tar.gz a.img");
    shell("echo '<!DOCTYPE html><html>' > page.img.zip && cp page.img.zip page.img.xz");
    shell(
        "head -c 5000 README.txt > tiny.img && : > none.img && head -c 900000 /dev/urandom > noise.img",
    );
    shell("printf '\\375\\067zXY' > flipped.img.xz && tail -c +6 a.img.xz >> flipped.img.xz");
    shell("cp a.img raw.img.xz && cp a.img.bz2 a.img.br && gzip -c noise.img > noise.img.gz");
    for (file, words) in [
        ("two.zip", "a.img (24 MiB), system.wic (24 MiB)"),
        ("none.zip", "README.txt (6 B), cmdline.txt"),
        ("empty.zip", "the zip is empty"),
        ("a.img.bz2", "bzip2"),
        ("named.img", "bzip2"),
        ("outer.zip", "zip within the zip"),
        ("thrice.img.gz", "packed once more"),
        ("a.tar.gz", "tar archive"),
        ("page.img.zip", "web page"),
        ("page.img.xz", "web page"),
        ("tiny.img", "neither a partition table nor a file system"),
        ("none.img", "empty"),
        ("noise.img", "neither a partition table nor a file system"),
        (
            "noise.img.gz",
            "neither a partition table nor a file system",
        ),
        ("flipped.img.xz", "its name says xz"),
        ("raw.img.xz", "its name says xz"),
        ("a.img.br", "bzip2"),
    ] {
        let said = refused(dir, &dir.join(file), &[]);
        assert!(said.contains(words), "{file}: {said}");
    }
    // Who insists gets it as it is.
    becomes(
        dir,
        &dir.join("noise.img"),
        &dir.join("noise.img"),
        &["--force-raw"],
    );
    becomes(
        dir,
        &dir.join("noise.img.gz"),
        &dir.join("noise.img"),
        &["--force-raw"],
    );
}

#[test]
fn half_an_image_is_refused_in_every_form() {
    need!(tools(&TOOLS));
    need!(tools(&["zstd", "gzip", "zip", "bmaptool"]));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small(dir, "a.img");
    let shell = |line: &str| run("sh", &["-c", &format!("cd {} && {line}", text(dir))]);
    for (size, partition) in [("12M", 2), ("4M", 1), ("8900K", 2)] {
        shell(&format!(
            "cp a.img cut.img && truncate -s {size} cut.img && rm -f cut.img.* && zstd -qk cut.img"
        ));
        shell("gzip -kf cut.img && rm -f cut.zip && zip -q cut.zip cut.img");
        for form in ["cut.img", "cut.img.zst", "cut.img.gz", "cut.zip"] {
            let said = refused(dir, &dir.join(form), &[]);
            let words = format!("partition {partition} ends at");
            assert!(
                said.contains(&words) && said.contains("cut short"),
                "{form}: {said}"
            );
        }
        // With a map the stream is not read to its end first.
        shell("bmaptool -q create -o cut.bmap cut.img");
        assert!(refused(dir, &dir.join("cut.img.zst"), &[]).contains("cut short"));
        shell("rm cut.bmap");
    }
    // A file system without a table that is not all there.
    shell(
        "head -c 4194304 /dev/zero > fs.img && mke2fs -q -t ext4 fs.img && truncate -s 3M fs.img",
    );
    assert!(refused(dir, &dir.join("fs.img"), &[]).contains("cut short"));
    // An image may leave out its last partition, if it holds nothing, and what is behind a
    // file system in one that is larger.
    shell("cp a.img left.img");
    let left = dir.join("left.img");
    let file = File::options().write(true).open(&left).unwrap();
    let entry = |number: u64, start: u32, sectors: u32| {
        let at = 446 + 16 * (number - 1);
        file.write_all_at(&[0x83], at + 4).unwrap();
        file.write_all_at(&start.to_le_bytes(), at + 8).unwrap();
        file.write_all_at(&sectors.to_le_bytes(), at + 12).unwrap();
    };
    entry(3, 34816, 16384);
    file.set_len(34816 * 512).unwrap();
    assert!(becomes(dir, &left, &left, &[]).contains("not in the image; it stays empty"));
    entry(2, 18432, 200_000);
    file.write_all_at(&[0; 16], 446 + 32).unwrap();
    assert!(becomes(dir, &left, &left, &[]).contains("its ext4 is whole"));
}

#[test]
fn block_maps_are_judged_before_and_their_checksums_compared() {
    need!(tools(&TOOLS));
    need!(tools(&["zstd", "xz", "bmaptool"]));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let raw = small(dir, "a.img");
    let shell = |line: &str| run("sh", &["-c", &format!("cd {} && {line}", text(dir))]);
    shell("bmaptool -q create -o made.bmap a.img && zstd -qk a.img && xz -k0 a.img");
    let made = fs::read_to_string(dir.join("made.bmap")).unwrap();
    let map = dir.join("a.bmap");
    // The same map with other checksums, by the usual programs.
    let with = |version: &str, kind: &str, attribute: &str| {
        let mut text = String::new();
        for line in made.lines().filter(|line| !line.contains("Checksum")) {
            let line = match line.split_once("chksum=\"") {
                Some((before, rest)) => {
                    let (_, rest) = rest.split_once('"').unwrap();
                    let blocks = rest
                        .trim_start_matches('>')
                        .split('<')
                        .next()
                        .unwrap()
                        .trim();
                    let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
                    let number = |text: &str| text.trim().parse::<u64>().unwrap();
                    let (first, count) = (number(first), number(last) + 1 - number(first));
                    let sum = shell(&format!(
                        "dd if=a.img bs=4096 skip={first} count={count} status=none | {kind}sum"
                    ));
                    let sum = sum.split_whitespace().next().unwrap();
                    format!("{before}{attribute}=\"{sum}\"{rest}")
                }
                None => line.replace("version=\"2.0\"", &format!("version=\"{version}\"")),
            };
            text += &line;
            text.push('\n');
            if line.contains("<MappedBlocksCount>") && version != "1.2" {
                text += &format!("<ChecksumType> {kind} </ChecksumType>\n");
            }
        }
        text
    };
    shell(
        "cp a.img bad.img && printf X | dd of=bad.img bs=1 seek=9438340 conv=notrunc status=none",
    );
    shell("zstd -qk bad.img");
    for (version, kind, attribute) in [
        ("1.2", "sha1", "sha1"),
        ("1.4", "sha256", "chksum"),
        ("2.0", "md5", "chksum"),
        ("2.0", "sha1", "chksum"),
        ("2.0", "sha384", "chksum"),
        ("2.0", "sha512", "chksum"),
    ] {
        fs::write(&map, with(version, kind, attribute)).unwrap();
        let out = westwork(&["flash", text(&raw), text(&dir.join("new"))]);
        assert_eq!(code(&out), 0, "{version} {kind}: {}", said(&out));
        assert!(!said(&out).contains("note:"), "{}", said(&out));
        fs::remove_file(dir.join("new")).unwrap();
        fs::rename(&map, dir.join("bad.bmap")).unwrap();
        for image in ["bad.img", "bad.img.zst"] {
            let out = westwork(&["flash", text(&dir.join(image)), text(&dir.join("new"))]);
            assert_eq!(code(&out), 1, "{version} {kind}: {}", said(&out));
            assert!(
                said(&out).contains("not those of its block map"),
                "{}",
                said(&out)
            );
            assert!(!dir.join("new").exists());
        }
    }
    // What can be judged is judged before the first byte is written.
    let head = made.replace("<Range chksum=\"", "<Range chksum=\"0");
    let head = head.lines().filter(|line| !line.contains("FileChecksum"));
    for (name, text, words) in [
        (
            "version",
            made.replace("version=\"2.0\"", "version=\"3.0\""),
            "version is 3.0",
        ),
        ("kind", made.replace("sha256", "blake2b"), "blake2b"),
        (
            "other",
            head.collect::<Vec<_>>().join("\n"),
            "not those of its block map",
        ),
        (
            "size",
            with("2.0", "sha1", "chksum").replace("25165824", "25165312"),
            "25165312",
        ),
    ] {
        fs::write(&map, text).unwrap();
        let said = refused(dir, &raw, &[]);
        assert!(said.contains(words), "{name}: {said}");
    }
    fs::remove_file(&map).unwrap();
    shell("bmaptool -q create -o a.img.xz.bmap a.img.xz");
    let said = refused(dir, &dir.join("a.img.xz"), &[]);
    assert!(said.contains("made of the packed file"), "{said}");
    // Without any it is said that nothing was compared.
    fs::remove_file(dir.join("a.img.xz.bmap")).unwrap();
    let none = with("2.0", "sha1", "chksum");
    let none: Vec<_> = none
        .lines()
        .filter(|line| !line.contains("ChecksumType"))
        .collect();
    fs::write(&map, none.join("\n")).unwrap();
    let new = dir.join("new");
    let out = westwork(&["flash", text(&raw), text(&new)]);
    assert_eq!(code(&out), 0, "{}", card::said(&out));
    assert!(
        card::said(&out).contains("is not compared with it"),
        "{}",
        card::said(&out)
    );
}

#[test]
fn settings_that_an_image_cannot_take_are_told_before() {
    need!(tools(&TOOLS));
    need!(tools(&["ssh-keygen", "mtype", "mdel", "mksquashfs"]));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let root = dir.join("root");
    tree(&root);
    with_imager(&root);
    fs::write(
        root.join("etc/group"),
        "root:x:0:\ngpio:x:990:\npi:x:1000:\n",
    )
    .unwrap();
    // A root that can only be read would forget them.
    run("cp", &["-a", text(&root), text(&dir.join("root2"))]);
    let squash = image_of(RootKind::Squashfs, &dir.join("root2"), dir, "s");
    let said = refused(dir, &squash, &["--hostname", "x"]);
    assert!(said.contains("does not take settings"), "{said}");
    let raw = image(&root, dir, "a");
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", text(&dir.join("k"))],
    );
    let key = fs::read_to_string(dir.join("k.pub")).unwrap();
    let file = |name: &str, content: &str| {
        fs::write(dir.join(name), content).unwrap();
        text(&dir.join(name)).to_owned()
    };
    let pub_key = file("id.pub", &key);
    for (user, words) in [
        ("nobody", "account or a group of the system"),
        ("video", "account or a group of the system"),
        ("gpio", "account or a group"),
    ] {
        let said = refused(dir, &raw, &["--user", user, "--ssh-key", &pub_key]);
        assert!(said.contains(words), "{user}: {said}");
    }
    for (content, words) in [
        (
            format!("{key}ssh-ed25519 AAAA\n"),
            "id.pub:2: the ssh-ed25519 key is cut off",
        ),
        ("ssh-dss AAAAB3 x\n".to_owned(), "DSA"),
        ("# nothing\n".to_owned(), "no public SSH key in it"),
    ] {
        let said = refused(dir, &raw, &["--ssh-key", &file("id.pub", &content)]);
        assert!(said.contains(words), "{said}");
    }
    let wifi = file("wifi", "long enough\n");
    let network = ["--country", "GB", "--wifi-password-file", &wifi, "--wifi"];
    let said = refused(dir, &raw, &[&network[..], &["-h"]].concat());
    assert!(said.contains("for an option"), "{said}");

    // Several keys with options, a hidden network, and a word on sudo.
    let keys = file(
        "keys",
        &format!("{key}# mine\nfrom=\"192.0.2.0/24\",restrict {key}cert-authority {key}"),
    );
    let new = dir.join("new");
    let settings = [
        &network[..],
        &["home", "--wifi-hidden", "--user", "pi", "--ssh-key", &keys],
    ];
    let all = [&["flash", text(&raw), text(&new)][..], &settings.concat()].concat();
    let out = westwork(&all);
    assert_eq!(code(&out), 0, "{}", card::said(&out));
    assert!(
        card::said(&out).contains("no password for sudo"),
        "{}",
        card::said(&out)
    );
    let fat = format!("{}@@{}", text(&new), card::BOOT_AT);
    let script = run("mtype", &["-i", &fat, "::/firstrun.sh"]);
    assert!(script.contains("'set_wlan' '-h' 'home' '"), "{script}");
    assert_eq!(script.matches("ssh-ed25519 AAAA").count(), 3, "{script}");
    assert!(
        script.contains("from=\"192.0.2.0/24\",restrict ssh-ed25519"),
        "{script}"
    );

    // The script is started by cmdline.txt: without it nothing can be set.
    run(
        "mdel",
        &[
            "-i",
            &format!("{}@@{}", text(&raw), card::BOOT_AT),
            "::/cmdline.txt",
        ],
    );
    let said = refused(dir, &raw, &["--hostname", "x"]);
    assert!(
        said.contains("no boot partition with a cmdline.txt"),
        "{said}"
    );
}

#[test]
fn the_sectors_of_a_disk_are_those_of_the_table() {
    need!(tools(&TOOLS));
    need!(tools(&["losetup"]));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let raw = small(dir, "a.img");
    let disk = dir.join("disk");
    File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let args = ["-f", "--show", "-b", "4096", text(&disk)];
    let out = std::process::Command::new("losetup")
        .args(args)
        .output()
        .unwrap();
    let device = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    need!(if out.status.success() {
        Ok(())
    } else {
        Err("a loop device".to_owned())
    });
    let flashed = westwork(&["flash", "--yes", text(&raw), &device]);
    let forced = westwork(&["flash", "--yes", "--force-raw", text(&raw), &device]);
    run("losetup", &["-d", &device]);
    assert_eq!(code(&flashed), 2, "{}", said(&flashed));
    assert!(
        said(&flashed).contains("counts sectors of 512 bytes"),
        "{}",
        said(&flashed)
    );
    assert_eq!(code(&forced), 0, "{}", said(&forced));
}
