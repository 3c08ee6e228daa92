//! Chromium, which keeps a picture of every page it is sent to.

use headless_chrome::protocol::cdp::Page::CaptureScreenshotFormatOption::Png;
use headless_chrome::{Browser as Chromium, LaunchOptions, Tab};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) struct Browser {
    tab: Arc<Tab>,
    _chromium: Chromium,
    pictures: PathBuf,
}

impl Browser {
    /// With every name resolved to `address`, as the owner's DNS would.
    pub(crate) fn new(address: &str, size: (u32, u32)) -> Self {
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&pictures).unwrap();
        let resolver = format!("--host-resolver-rules=MAP * {address}");
        let args = [
            &*resolver,
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let options = LaunchOptions::default_builder()
            .path(Some("/usr/bin/chromium".into()))
            // It is root of its namespaces, which Chromium's sandbox refuses.
            .sandbox(false)
            .window_size(Some(size))
            .idle_browser_timeout(Duration::from_secs(900))
            .args(args.iter().map(OsStr::new).collect())
            .build()
            .unwrap();
        let chromium = Chromium::new(options).expect("chromium");
        let tab = chromium.new_tab().unwrap();
        tab.set_default_timeout(Duration::from_secs(120));
        Self {
            tab,
            _chromium: chromium,
            pictures,
        }
    }

    pub(crate) fn open(&self, url: &str) {
        let result = self
            .tab
            .navigate_to(url)
            .and_then(|tab| tab.wait_until_navigated());
        result.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub(crate) fn url(&self) -> String {
        self.tab.get_url()
    }

    pub(crate) fn text(&self) -> String {
        let value = self.tab.evaluate("document.body.innerText", false).unwrap();
        value
            .value
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Types into a field, whatever was in it.
    pub(crate) fn fill(&self, field: &str, text: &str) {
        let element = self
            .tab
            .wait_for_element(field)
            .unwrap_or_else(|error| self.give_up(field, &error));
        self.tab
            .evaluate(
                &format!("document.querySelector({field:?}).value = ''"),
                false,
            )
            .unwrap();
        element.type_into(text).unwrap();
    }

    /// Chooses an option of a list.
    pub(crate) fn choose(&self, field: &str, value: &str) {
        self.tab.wait_for_element(field).unwrap();
        let script = format!("document.querySelector({field:?}).value = {value:?}");
        self.tab.evaluate(&script, false).unwrap();
    }

    /// Presses a button that leads to another page.
    pub(crate) fn press(&self, button: &str) {
        let element = self
            .tab
            .wait_for_element(button)
            .unwrap_or_else(|error| self.give_up(button, &error));
        element.click().unwrap();
        self.tab.wait_until_navigated().unwrap();
    }

    /// Waits for a page of which `is_it` says yes.
    pub(crate) fn wait(&self, what: &str, seconds: u64, is_it: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_it(self) {
            if begin.elapsed().as_secs() > seconds {
                self.give_up(what, &"not within time");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        println!("{what}: after {} s", begin.elapsed().as_secs());
    }

    pub(crate) fn has(&self, selector: &str) -> bool {
        let script = format!("document.querySelector({selector:?}) !== null");
        let value = self
            .tab
            .evaluate(&script, false)
            .ok()
            .and_then(|value| value.value);
        value == Some(true.into())
    }

    /// Keeps `target/screenshots/NAME.png`.
    pub(crate) fn picture(&self, name: &str) {
        let png = self.tab.capture_screenshot(Png, None, None, true).unwrap();
        std::fs::write(self.pictures.join(format!("{name}.png")), png).unwrap();
    }

    fn give_up(&self, what: &str, why: &dyn std::fmt::Display) -> ! {
        self.picture("failure");
        panic!("{what}: {why}; at {}:\n{}", self.url(), self.text())
    }
}
