//! The people of the box, in slapd. Mail and chat both ask it who somebody is.
//!
//! The tree: the domain's base; `ou=people` below it with one `inetOrgPerson` each (`uid`, `cn`,
//! `sn`, `mail`, `userPassword`); `cn=services`, which may read it. slapd's configuration is
//! `/data/conf/slapd/slapd.conf`, its data `/data/ldap`; root manages it over `ldapi:///`.

use crate::ldif::{dn_value, entry};
use crate::root::{Root, give, make_directory};
use crate::secrets::{Secret, Secrets, password_hash};
use crate::settings::Settings;
use anyhow::{Context, Result, anyhow};
use std::path::Path;

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

/// Where somebody is in the tree.
pub(crate) fn dn(settings: &Settings, user: &str) -> String {
    format!(
        "uid={},ou=people,{}",
        dn_value(user),
        settings.domain.ldap_base()
    )
}

/// Somebody's entry.
pub(crate) fn person(settings: &Settings, user: &str, name: &str, password: &Secret) -> String {
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
