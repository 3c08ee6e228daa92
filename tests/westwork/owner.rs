//! The owner's day: everything the box is for, from outside and with ordinary programs.

use crate::browser::Browser;
use crate::machine::is_armhf;
use crate::network::BOX;
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const FIRST_MAIL: &str = "hello from the test";

pub(crate) struct Owner {
    pub(crate) domain: &'static str,
    pub(crate) user: &'static str,
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

impl Owner {
    /// curl, with the owner's DNS and faith in the box's own certificate.
    fn curl(&self, args: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command.args(["-sS", "-k", "-m", "120"]);
        for port in [80, 443, 465, 993, 8448] {
            command.args(["--resolve", &format!("{}:{port}:{BOX}", self.domain)]);
        }
        command.args(args).output().unwrap()
    }

    /// What curl printed; it must succeed.
    fn get(&self, args: &[&str]) -> String {
        let output = self.curl(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl {args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn login(&self) -> String {
        format!("{}:{}", self.user, self.password)
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}/{path}", self.domain)
    }

    pub(crate) fn uses_everything(&self) {
        let begin = Instant::now();
        let works = |what: &str| println!("{what} works: after {} s", begin.elapsed().as_secs());
        self.web();
        works("web");
        self.mail(FIRST_MAIL);
        works("mail");
        self.directory();
        self.chat();
        works("chat, if there is one,");
        self.web_mail();
        works("web mail");
    }

    /// On a box restored from a backup of one where everything was used.
    pub(crate) fn finds_everything_again(&self) {
        self.web();
        let mail = self.message(1);
        assert!(mail.contains(&format!("Subject: {FIRST_MAIL}")), "{mail}");
        self.mail("after the restore");
        self.directory();
        self.chat();
    }

    /// HTTPS with the box's certificate; HTTP leads there.
    pub(crate) fn web(&self) {
        let begin = Instant::now();
        while !self
            .curl(&["-o", "/dev/null", &self.url("https", "")])
            .status
            .success()
        {
            assert!(begin.elapsed().as_secs() < 120, "no HTTPS");
            std::thread::sleep(Duration::from_secs(2));
        }
        let code = self.get(&[
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &self.url("https", ""),
        ]);
        assert!(
            ["200", "301", "302"].contains(&&*code),
            "https://{}/: {code}",
            self.domain
        );
        let to = self.get(&[
            "-o",
            "/dev/null",
            "-w",
            "%{redirect_url}",
            &self.url("http", ""),
        ]);
        assert!(to.starts_with(&self.url("https", "")), "{to}");
        let line = format!(
            "openssl s_client -connect {BOX}:443 -servername {} </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName",
            self.domain
        );
        let names = crate::succeed(&line);
        assert!(names.contains(self.domain), "{names}");
    }

    /// Number of messages in the inbox.
    pub(crate) fn inbox(&self) -> usize {
        let login = self.login();
        let text = self.get(&[
            "-u",
            &login,
            &self.url("imaps", ""),
            "-X",
            "STATUS INBOX (MESSAGES)",
        ]);
        let count = text
            .split("MESSAGES ")
            .nth(1)
            .and_then(|text| text.split(')').next());
        count.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }

    /// Text of message `number`.
    pub(crate) fn message(&self, number: usize) -> String {
        let login = self.login();
        let path = format!("INBOX;MAILINDEX={number}");
        self.get(&["-u", &login, &self.url("imaps", &path)])
    }

    /// Sends a mail to oneself and reads it; nobody gets in with another password, and
    /// nobody sends without one.
    pub(crate) fn mail(&self, subject: &str) {
        let wrong = self.curl(&[
            "-u",
            &format!("{}:wrong horse", self.user),
            &self.url("imaps", ""),
        ]);
        assert_eq!(wrong.status.code(), Some(67), "a wrong password");
        let before = self.inbox();
        let address = format!("{}@{}", self.user, self.domain);
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "From: {0} <{address}>\r\nTo: {address}\r\nSubject: {subject}\r\n\r\nGood morning.\r\n",
            self.name
        );
        std::fs::write(file.path(), text).unwrap();
        let file = file.path().to_str().unwrap();
        let (login, smtps) = (self.login(), self.url("smtps", "test.example.net"));
        let send = [
            "--mail-from",
            &address,
            "--mail-rcpt",
            &address,
            "-T",
            file,
            &smtps,
        ];
        self.get(&[&["-u", &login], &send[..]].concat());
        let begin = Instant::now();
        while self.inbox() == before {
            assert!(begin.elapsed().as_secs() < 120, "the mail does not arrive");
            std::thread::sleep(Duration::from_secs(2));
        }
        let mail = self.message(before + 1);
        assert!(mail.contains(&format!("Subject: {subject}")), "{mail}");
        assert!(mail.contains("Good morning."), "{mail}");
        let open = self.curl(&[
            "--mail-from",
            &address,
            "--mail-rcpt",
            "x@example.net",
            "-T",
            file,
            &smtps,
        ]);
        assert!(!open.status.success(), "mail to others without a login");
    }

    /// The directory is the box's own: from outside there is none.
    pub(crate) fn directory(&self) {
        for port in [389, 636] {
            let address = format!("{BOX}:{port}").parse().unwrap();
            let answer = TcpStream::connect_timeout(&address, Duration::from_secs(5));
            assert!(answer.is_err(), "the directory answers on port {port}");
        }
    }

    /// Synapse answers, and knows the owner by the same password.
    pub(crate) fn chat(&self) {
        if is_armhf() {
            return;
        }
        let versions = self.get(&[&self.url("https", "_matrix/client/versions")]);
        assert!(versions.contains("\"versions\""), "{versions}");
        assert!(self.is_session(&self.chat_session()));
    }

    /// Logs in to the chat; the session's token.
    pub(crate) fn chat_session(&self) -> String {
        let body = serde_json::json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": self.user },
            "password": self.password,
        });
        let answer = self.get(&[
            "-H",
            "Content-Type: application/json",
            "-d",
            &body.to_string(),
            &self.url("https", "_matrix/client/v3/login"),
        ]);
        let session: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        let id = format!("@{}:{}", self.user, self.domain);
        assert_eq!(session["user_id"], id, "{answer}");
        session["access_token"].as_str().unwrap().to_owned()
    }

    /// Does the chat server take this token for this person's?
    pub(crate) fn is_session(&self, token: &str) -> bool {
        let header = format!("Authorization: Bearer {token}");
        let whoami = self.url("https", "_matrix/client/v3/account/whoami");
        let answer = self.get(&["-H", &header, &whoami]);
        let id = format!("\"@{}:{}\"", self.user, self.domain);
        assert!(
            answer.contains(&id) || answer.contains("M_UNKNOWN_TOKEN"),
            "{answer}"
        );
        answer.contains(&id)
    }

    /// Roundcube: its page, a login, and the mail in the list.
    pub(crate) fn web_mail(&self) {
        let browser = Browser::new(BOX, (1280, 900));
        browser.open(&self.url("https", ""));
        browser.picture("7-home");
        browser.open(&self.url("https", "mail/"));
        browser.picture("8-webmail-login");
        browser.fill("#rcmloginuser", self.user);
        browser.fill("#rcmloginpwd", self.password);
        browser.press("#rcmloginsubmit");
        browser.wait("the mail in the browser", 120, |browser| {
            browser.has("#messagelist tbody tr.message")
        });
        browser.picture("9-webmail");
    }
}
