//! The people of the box, in slapd. Mail and chat both ask it who somebody is.
//!
//! The tree: the domain's base; `ou=people` below it with one `inetOrgPerson` each (`uid`, `cn`,
//! `sn`, `mail`, `userPassword`); `cn=services`, which may read it. slapd's configuration is
//! `/data/conf/slapd/slapd.conf`, its data `/data/ldap`; root manages it over `ldapi:///`.

use crate::ldif::{dn_value, entry, filter_value, line, parse};
use crate::root::{Root, give, make_directory};
use crate::secrets::{Secret, Secrets, password_hash};
use crate::settings::{self, Settings};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};

/// Somebody who has mail and chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub user: String,
    pub name: String,
    pub mail: String,
}

/// Makes the directory anew, with the owner in it. For a box that is not yet configured: what was
/// in the directory is gone.
pub fn create(root: &Root, settings: &Settings, secrets: &Secrets) -> Result<()> {
    let missing = |name: &str| anyhow!("there is no secret {name}: set the box up again");
    let owner = secrets
        .get("owner_password")
        .ok_or_else(|| missing("owner_password"))?;
    let services = password_hash(
        secrets
            .get("ldap_services")
            .ok_or_else(|| missing("ldap_services"))?
            .reveal(),
    )?;
    load(root, &root.data(), &base(settings, &services, owner))
}

/// Replaces the directory's data below `data` (which is or will be /data) by this LDIF; slapd must
/// not be running.
pub(crate) fn load(root: &Root, data: &Path, ldif: &str) -> Result<()> {
    let database = data.join("ldap");
    crate::render::remove_tree(&database)?;
    make_directory(&database, 0o700)?;
    let configuration = root.path("/data/conf/slapd/slapd.conf");
    let slapadd = root
        .program_seeing(data, &root.data(), "/usr/sbin/slapadd")
        .arg("-f")
        .arg(configuration);
    slapadd.input(ldif).run().context("making the directory")?;
    let (Some(uid), Some(gid)) = (root.id("passwd", "openldap"), root.id("group", "openldap"))
    else {
        return Ok(());
    };
    give(&database, uid, gid)?;
    for file in database
        .read_dir()
        .context("reading the directory's data")?
    {
        give(&file?.path(), uid, gid)?;
    }
    Ok(())
}

/// The whole directory as LDIF; slapd must not be running.
pub(crate) fn dump(root: &Root) -> Result<String> {
    let configuration = root.path("/data/conf/slapd/slapd.conf");
    let output = root
        .program("/usr/sbin/slapcat")
        .arg("-f")
        .arg(configuration)
        .run()
        .context("reading the directory")?;
    String::from_utf8(output).context("reading the directory")
}

fn base(settings: &Settings, services: &Secret, owner: &Secret) -> String {
    let base = settings.domain.ldap_base();
    let domain = settings.domain.as_str();
    let (first, _) = domain.split_once('.').unwrap_or((domain, ""));
    let person = person(settings, &settings.owner.user, &settings.owner.name, owner);
    [
        entry(
            &base,
            &[
                ("objectClass", "dcObject"),
                ("objectClass", "organization"),
                ("dc", first),
                ("o", domain),
            ],
        ),
        entry(
            &format!("ou=people,{base}"),
            &[("objectClass", "organizationalUnit"), ("ou", "people")],
        ),
        entry(
            &format!("cn=services,{base}"),
            &[
                ("objectClass", "organizationalRole"),
                ("objectClass", "simpleSecurityObject"),
                ("cn", "services"),
                ("userPassword", services.reveal()),
            ],
        ),
        person,
    ]
    .concat()
}

fn dn(settings: &Settings, user: &str) -> String {
    format!(
        "uid={},ou=people,{}",
        dn_value(user),
        settings.domain.ldap_base()
    )
}

fn person(settings: &Settings, user: &str, name: &str, password: &Secret) -> String {
    let surname = name.split_whitespace().next_back().unwrap_or(name);
    let mail = format!("{user}@{}", settings.domain.as_str());
    entry(
        &dn(settings, user),
        &[
            ("objectClass", "inetOrgPerson"),
            ("uid", user),
            ("cn", name),
            ("sn", surname),
            ("displayName", name),
            ("mail", &mail),
            ("userPassword", password.reveal()),
        ],
    )
}

/// `westwork user`, as root, on a configured box with slapd running.
#[derive(Debug)]
pub struct Users<'a> {
    root: &'a Root,
    settings: Settings,
}

impl<'a> Users<'a> {
    pub fn open(root: &'a Root) -> Result<Self> {
        if !root.is_configured() {
            bail!("this box is not set up yet");
        }
        Ok(Self {
            root,
            settings: Settings::load(root)?,
        })
    }

    pub fn list(&self) -> Result<Vec<User>> {
        self.search("(objectClass=inetOrgPerson)")
    }

    pub fn add(&self, user: &str, name: &str, password: &Secret) -> Result<User> {
        let user = settings::user_name(user).map_err(|message| anyhow!(message))?;
        let name = settings::person_name(name).map_err(|message| anyhow!(message))?;
        settings::password(password.reveal(), &user).map_err(|message| anyhow!(message))?;
        if self.exists(&user)? {
            bail!("there is a user {user} already");
        }
        let hash = password_hash(password.reveal())?;
        self.tool("ldapadd", person(&self.settings, &user, &name, &hash))
            .with_context(|| format!("adding {user}"))?;
        Ok(User {
            mail: format!("{user}@{}", self.settings.domain.as_str()),
            user,
            name,
        })
    }

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
        Ok(())
    }

    /// Mail stays unless it is purged.
    pub fn remove(&self, user: &str, purge: bool) -> Result<()> {
        self.must_exist(user)?;
        if user == self.settings.owner.user {
            bail!("{user} is the owner and stays");
        }
        let change = line("dn", &dn(&self.settings, user)) + "changetype: delete\n";
        self.tool("ldapmodify", change)
            .with_context(|| format!("removing {user}"))?;
        if purge {
            crate::render::remove_tree(&self.mailbox(user))?;
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
