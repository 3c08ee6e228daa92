//! Chromium, driven by the WebDriver protocol (W3C), which needs no more than JSON over HTTP:
//! curl carries it to chromedriver. Pictures are left in target/screenshots.

use crate::run;
use base64::Engine;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DRIVER: &str = "http://127.0.0.1:9515";
/// The key of an element's identifier.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Browser {
    driver: Child,
    session: String,
    pictures: PathBuf,
}

impl Browser {
    /// With every name resolved to `address`, as the owner's DNS would.
    pub(crate) fn new(address: &str, size: (u32, u32)) -> Self {
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&pictures).unwrap();
        let driver = Command::new("chromedriver")
            .args(["--port=9515", "--silent"])
            .stdout(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let mut browser = Self {
            driver,
            session: String::new(),
            pictures,
        };
        let options = json!({
            "binary": "/usr/bin/chromium",
            "args": [
                "--headless=new",
                // It is root of its namespaces, which Chromium's sandbox refuses.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--hide-scrollbars",
                format!("--window-size={},{}", size.0, size.1),
                format!("--host-resolver-rules=MAP * {address}, EXCLUDE 127.0.0.1"),
            ],
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "timeouts": { "pageLoad": 120_000, "implicit": 60_000 },
            "goog:chromeOptions": options,
        } } });
        let session = browser.call("POST", "", wanted).expect("a browser");
        browser.session = format!("/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// One command; its value, or what went wrong.
    fn call(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let url = format!("{DRIVER}/session{}{path}", self.session);
        let body = body.to_string();
        let mut args = vec![
            "-sS",
            "--retry",
            "20",
            "--retry-connrefused",
            "--retry-delay",
            "1",
        ];
        args.extend(["-X", method, "-H", "Content-Type: application/json"]);
        if method == "POST" {
            args.extend(["-d", &body]);
        }
        args.push(&url);
        let answer: Value = serde_json::from_str(&run("curl", &args)).map_err(|e| e.to_string())?;
        let value = answer["value"].clone();
        match value.get("error") {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    fn must(&self, what: &str, path: &str, body: Value) -> Value {
        self.call("POST", path, body)
            .unwrap_or_else(|error| self.give_up(what, &error))
    }

    fn script(&self, script: &str) -> Value {
        self.must(
            script,
            "/execute/sync",
            json!({ "script": script, "args": [] }),
        )
    }

    /// Path of the first element that `selector` matches; waits for it.
    fn element(&self, selector: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.must(selector, "/element", wanted);
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    pub(crate) fn open(&self, url: &str) {
        self.must(url, "/url", json!({ "url": url }));
    }

    pub(crate) fn url(&self) -> String {
        let url = self.call("GET", "/url", Value::Null).unwrap_or_default();
        url.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn text(&self) -> String {
        let text = self.script("return document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Types into a field, whatever was in it.
    pub(crate) fn fill(&self, field: &str, text: &str) {
        let element = self.element(field);
        self.must(field, &format!("{element}/clear"), json!({}));
        self.must(field, &format!("{element}/value"), json!({ "text": text }));
    }

    /// Chooses an option of a list.
    pub(crate) fn choose(&self, field: &str, value: &str) {
        self.press(&format!("{field} option[value=\"{value}\"]"));
    }

    /// Presses something; a page that it leads to is waited for.
    pub(crate) fn press(&self, button: &str) {
        let element = self.element(button);
        self.must(button, &format!("{element}/click"), json!({}));
    }

    /// Waits for a page of which `is_it` says yes.
    pub(crate) fn wait(&self, what: &str, seconds: u64, is_it: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_it(self) {
            if begin.elapsed().as_secs() > seconds {
                self.give_up(what, "not within time");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        println!("{what}: after {} s", begin.elapsed().as_secs());
    }

    pub(crate) fn has(&self, selector: &str) -> bool {
        self.script(&format!(
            "return document.querySelector({selector:?}) !== null"
        )) == json!(true)
    }

    /// Keeps `target/screenshots/NAME.png`.
    pub(crate) fn picture(&self, name: &str) {
        let png = self.call("GET", "/screenshot", Value::Null).unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(png.as_str().unwrap());
        std::fs::write(self.pictures.join(format!("{name}.png")), png.unwrap()).unwrap();
    }

    fn give_up(&self, what: &str, why: &str) -> ! {
        self.picture("failure");
        panic!("{what}: {why}; at {}", self.url())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; the driver alone would leave it.
        let url = format!("{DRIVER}/session{}", self.session);
        let _ = Command::new("curl")
            .args(["-s", "-X", "DELETE", &url])
            .output();
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
