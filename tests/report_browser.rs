//! The page that `report` writes, opened in Chromium: narrow and wide, light and dark, and printed.
//! Pictures are left in target/screenshots.

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;
#[path = "common/report.rs"]
mod page;

use need::need;
use page::{hostile, report};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What measures a page: a copy of it, which has no policy that keeps scripts out. The first link
/// of the picture and the first head of the list of packages are tried as well.
const MEASURE: &str = include_str!("fixtures/measure.js");

/// Chromium without a window, with a profile of its own; what it wrote to its outputs.
fn chromium(dir: &Path, dark: bool, args: &[&str], page: &Path) -> (String, String) {
    let profile = tempfile::tempdir_in(dir).unwrap();
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        // It is root of its namespaces, which Chromium's sandbox refuses.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        "--v=0",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    // 0 is dark, 1 light.
    let scheme = usize::from(!dark);
    command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
    let out = command
        .args(args)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}", text(&out.stderr));
    (text(&out.stdout), text(&out.stderr))
}

/// As [`chromium`], for a page that must have nothing to say.
fn quiet(dir: &Path, dark: bool, args: &[&str], page: &Path) {
    let (_, said) = chromium(dir, dark, args, page);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(lines.is_empty(), "{lines:?}");
}

/// An image with a few hundred packages, and everything else that a page can show.
fn realistic(dir: &Path) -> (PathBuf, Vec<String>) {
    let root = dir.join("root");
    card::tree(&root);
    let (mut status, info) = (String::new(), root.join("var/lib/dpkg/info"));
    fs::create_dir_all(&info).unwrap();
    for n in 0..300_u32 {
        let name = format!("package-{n}");
        status += &format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1.{n}-2+deb13u1\n\
             Maintainer: Debian Something Maintainers <x@example.org>\n\n"
        );
        let within = format!(
            "usr/{}/{name}",
            ["lib", "share", "lib/modules"][n as usize % 3]
        );
        fs::create_dir_all(root.join(&within)).unwrap();
        let bytes = vec![1; 6_000_000 / (n as usize + 1)];
        fs::write(root.join(&within).join("file"), bytes).unwrap();
        fs::write(
            info.join(format!("{name}.list")),
            format!("/.\n/{within}/file\n"),
        )
        .unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    let before = card::image(&root, dir, "before");
    card::tree_again(&root);
    fs::write(root.join("usr/lib/package-0/file"), vec![1; 7_000_000]).unwrap();
    let image = card::image(&root, dir, "lite");
    let record = dir.join("lite.build.json");
    fs::rename(dir.join("deploy-lite/lite.build.json"), &record).unwrap();
    page::add_timings(&record);
    let junit = dir.join("junit.xml");
    fs::write(&junit, page::JUNIT).unwrap();
    let more = [
        "--against",
        card::text(&before),
        "--tests",
        card::text(&junit),
    ];
    (image, more.map(str::to_owned).to_vec())
}

/// The page of `image`, its copy that measures itself, and where pictures go.
fn pages(dir: &Path, image: &Path, more: &[String]) -> (PathBuf, PathBuf, PathBuf) {
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let (page, measured) = (dir.join("page.html"), dir.join("measured.html"));
    let text = report(image, &page, &more);
    let at = text.find("<meta http-equiv=").unwrap();
    let end = at + text[at..].find('>').unwrap() + 1;
    let open = format!("{}{}", &text[..at], &text[end..]);
    fs::write(
        &measured,
        open.replace("</body>", &format!("<script>{MEASURE}</script></body>")),
    )
    .unwrap();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    fs::create_dir_all(&pictures).unwrap();
    (page, measured, pictures)
}

#[test]
#[ignore = "needs Chromium"]
fn the_page_is_right_at_every_width_in_light_and_dark_and_on_paper() {
    need!(need::tools(&["mke2fs", "mkfs.fat", "mcopy", "chromium"]));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (image, more) = realistic(dir);
    let (page, measured, pictures) = pages(dir, &image, &more);
    for (width, height) in [(400, 5200), (1600, 3600)] {
        for dark in [false, true] {
            let size = format!("--window-size={width},{height}");
            let name = format!("report-{width}-{}.png", if dark { "dark" } else { "light" });
            let picture = pictures.join(name);
            let _ = fs::remove_file(&picture);
            let shot = format!("--screenshot={}", picture.display());
            quiet(dir, dark, &[&size, &shot], &page);
            assert!(fs::metadata(&picture).unwrap().len() > 20_000);
            let (dom, _) = chromium(dir, dark, &[&size, "--dump-dom"], &measured);
            let said = dom
                .split("data-measured=\"")
                .nth(1)
                .expect("it was measured");
            let said: Vec<&str> = said.split('"').next().unwrap().split(' ').collect();
            let dark = format!("dark={dark}");
            // 7 and 70 to 79.
            let wanted = [
                "fits=true",
                "pictures=2",
                "words=true",
                "scripts=2",
                "sorted=true",
                "found=11",
                "contrast=true",
                &dark,
            ];
            assert_eq!(said, wanted, "{width}");
        }
    }
    let paper = pictures.join("report.pdf");
    let _ = fs::remove_file(&paper);
    let print = format!("--print-to-pdf={}", paper.display());
    quiet(dir, true, &[&print], &page);
    let bytes = fs::read(&paper).unwrap();
    assert!(bytes.starts_with(b"%PDF") && bytes.len() > 20_000);
}

#[test]
#[ignore = "needs Chromium"]
fn no_script_of_an_image_runs() {
    need!(need::tools(&["mke2fs", "mkfs.fat", "mcopy", "chromium"]));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (image, more) = hostile(dir);
    let (page, measured, pictures) = pages(dir, &image, &more);
    let shot = format!(
        "--screenshot={}",
        pictures.join("report-hostile.png").display()
    );
    // What the policy keeps out, Chromium tells.
    quiet(dir, false, &["--window-size=1200,4000", &shot], &page);
    // Nothing is there to be kept out.
    let (dom, _) = chromium(dir, false, &["--dump-dom"], &measured);
    assert!(dom.contains("scripts=2") && !dom.contains("<img") && !dom.contains("<b>"));
}
