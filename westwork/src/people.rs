//! `westwork user`: people come, change and go.

use crate::chat::Chat;
use crate::directory::{dn, person};
use crate::ldif::{filter_value, line, parse};
use crate::root::{Root, write_file};
use crate::secrets::{Secret, password_hash};
use crate::settings::{self, Settings};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Somebody who has mail and chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The part of the address before the @.
    pub user: String,
    /// The person's name, as mail shows it.
    pub name: String,
    /// The whole address.
    pub mail: String,
}

/// `westwork user`, as root, on a configured box with slapd running.
#[derive(Debug)]
pub struct Users<'a> {
    root: &'a Root,
    settings: Settings,
}

impl<'a> Users<'a> {
    /// An error if the box is not set up.
    pub fn open(root: &'a Root) -> Result<Self> {
        if !root.is_configured() {
            bail!("this box is not set up yet");
        }
        Ok(Self {
            root,
            settings: Settings::load(root)?,
        })
    }

    /// Everybody with an account, by name of user.
    pub fn list(&self) -> Result<Vec<User>> {
        self.search("(objectClass=inetOrgPerson)")
    }

    /// A name that was somebody's is given to the same person only (`again`): mail to it, and
    /// others' chats with it, were meant for that person.
    pub fn add(&self, user: &str, name: &str, again: bool, password: &Secret) -> Result<User> {
        let user = settings::user_name(user).map_err(|message| anyhow!(message))?;
        let name = settings::person_name(name).map_err(|message| anyhow!(message))?;
        settings::password(password.reveal(), &user).map_err(|message| anyhow!(message))?;
        if self.exists(&user)? {
            bail!("there is a user {user} already");
        }
        let mut former = Former::load(self.root)?;
        let was_there = former.has(&user) || self.mailbox(&user).exists();
        if was_there && !again {
            bail!(
                "{user} was somebody's name before, whose mail and chats would be this person's: choose another name, or say --same-person"
            );
        }
        if let Some(chat) = self.chat().filter(|_| again) {
            chat.open_again(&user)?;
        }
        let hash = password_hash(password.reveal())?;
        self.tool("ldapadd", person(&self.settings, &user, &name, &hash))
            .with_context(|| format!("adding {user}"))?;
        former.forget(&user)?;
        Ok(User {
            mail: format!("{user}@{}", self.settings.domain.as_str()),
            user,
            name,
        })
    }

    /// Another password for mail, web mail and chat; who is logged in to the chat is logged out.
    pub fn set_password(&self, user: &str, password: &Secret) -> Result<()> {
        self.must_exist(user)?;
        settings::password(password.reveal(), user).map_err(|message| anyhow!(message))?;
        let hash = password_hash(password.reveal())?;
        let change = [
            line("dn", &dn(&self.settings, user)).as_str(),
            "changetype: modify\nreplace: userPassword\n",
            &line("userPassword", hash.reveal()),
        ]
        .concat();
        self.tool("ldapmodify", change)
            .with_context(|| format!("changing the password of {user}"))?;
        self.kick(user)?;
        if let Some(chat) = self.chat() {
            chat.log_out(user).with_context(|| {
                format!("the password is changed, but {user} may still be logged in to chat; try it again")
            })?;
        }
        Ok(())
    }

    /// Ends all sessions. Mail stays unless it is purged; chat is closed for good.
    pub fn remove(&self, user: &str, purge: bool) -> Result<()> {
        self.must_exist(user)?;
        if user == self.settings.owner.user {
            bail!("{user} is the owner and stays");
        }
        // First what can refuse, so that it can be tried again.
        if let Some(chat) = self.chat() {
            chat.close(user, purge)
                .with_context(|| format!("{user} is not removed"))?;
        }
        if self.settings.chat || !purge {
            Former::load(self.root)?.note(user)?;
        }
        let change = line("dn", &dn(&self.settings, user)) + "changetype: delete\n";
        self.tool("ldapmodify", change)
            .with_context(|| format!("removing {user}"))?;
        self.kick(user)?;
        if purge {
            crate::render::remove_tree(&self.mailbox(user))?;
        }
        Ok(())
    }

    fn chat(&self) -> Option<Chat<'_>> {
        self.settings
            .chat
            .then(|| Chat::new(self.root, self.settings.domain.as_str()))
    }

    /// Ends somebody's mail connections.
    fn kick(&self, user: &str) -> Result<()> {
        const DOVEADM: &str = "/usr/bin/doveadm";
        if self.root.has(DOVEADM) {
            let mail = format!("{user}@{}", self.settings.domain.as_str());
            let conf = self.root.conf().join("dovecot/dovecot.conf");
            let doveadm = self.root.program(DOVEADM).arg("-c").arg(conf);
            // It fails where there is no connection, and where dovecot does not run.
            doveadm.args(["kick", &mail]).outcome()?;
        }
        Ok(())
    }

    /// Where slapd listens for root.
    fn socket(&self) -> String {
        if self.root.is_device() {
            return "ldapi:///".to_owned();
        }
        let path = self.root.path("/run/slapd/ldapi").display().to_string();
        format!("ldapi://{}", path.replace('/', "%2F"))
    }

    fn mailbox(&self, user: &str) -> PathBuf {
        self.root
            .path("/data/mail")
            .join(self.settings.domain.as_str())
            .join(user)
    }

    fn must_exist(&self, user: &str) -> Result<()> {
        if settings::user_name(user).is_err() || !self.exists(user)? {
            bail!("there is no user {user:?}");
        }
        Ok(())
    }

    fn exists(&self, user: &str) -> Result<bool> {
        Ok(!self
            .search(&format!("(uid={})", filter_value(user)))?
            .is_empty())
    }

    fn search(&self, filter: &str) -> Result<Vec<User>> {
        let people = format!("ou=people,{}", self.settings.domain.ldap_base());
        let output = self
            .root
            .program("/usr/bin/ldapsearch")
            .args([
                "-Q",
                "-LLL",
                "-Y",
                "EXTERNAL",
                "-H",
                &self.socket(),
                "-o",
                "ldif-wrap=no",
                "-b",
                &people,
            ])
            .args([filter, "uid", "cn", "mail"])
            .run()
            .context("asking the directory")?;
        let entries = parse(&String::from_utf8_lossy(&output));
        let get = |entry: &[(String, String)], name: &str| {
            entry
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
                .unwrap_or_default()
        };
        let mut users: Vec<User> = entries
            .iter()
            .map(|entry| User {
                user: get(entry, "uid"),
                name: get(entry, "cn"),
                mail: get(entry, "mail"),
            })
            .collect();
        users.sort_by(|a, b| a.user.cmp(&b.user));
        Ok(users)
    }

    fn tool(&self, name: &str, ldif: String) -> Result<Vec<u8>> {
        let program = format!("/usr/bin/{name}");
        self.root
            .program(&program)
            .args(["-Q", "-Y", "EXTERNAL", "-H", &self.socket()])
            .input(ldif)
            .run()
    }
}

/// Names of people who were removed, in `former-people`, one a line.
struct Former<'a> {
    root: &'a Root,
    names: BTreeSet<String>,
}

impl<'a> Former<'a> {
    fn load(root: &'a Root) -> Result<Self> {
        let names = match std::fs::read_to_string(Self::path(root)) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error).context("reading the names of former people"),
        };
        Ok(Self { root, names })
    }

    fn path(root: &Root) -> PathBuf {
        root.own().join("former-people")
    }

    fn has(&self, user: &str) -> bool {
        self.names.contains(user)
    }

    fn note(&mut self, user: &str) -> Result<()> {
        if self.names.insert(user.to_owned()) {
            self.save()?;
        }
        Ok(())
    }

    fn forget(&mut self, user: &str) -> Result<()> {
        if self.names.remove(user) {
            self.save()?;
        }
        Ok(())
    }

    fn save(&self) -> Result<()> {
        let text: String = self.names.iter().map(|name| format!("{name}\n")).collect();
        let _lock = self.root.lock()?;
        write_file(&Self::path(self.root), 0o600, text.as_bytes())
    }
}
