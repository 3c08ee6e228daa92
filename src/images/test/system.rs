//! Packages, units and users, by the files that say so.

use super::spec;
use super::subject::Subject;
use crate::images::image::accounts::{Password, Passwords};
use crate::images::image::tree::Kind;
use crate::images::printable::printable;
use anyhow::{Context, Result};

/// What is wrong with the package.
pub(super) fn package(test: &spec::Package, subject: &Subject) -> Result<Vec<String>> {
    let (name, arch) = match test.package.split_once(':') {
        Some((name, arch)) => (name, Some(arch)),
        None => (test.package.as_str(), None),
    };
    let mut found = subject.packages()?.iter().filter(|package| {
        package.name == name && arch.is_none_or(|arch| arch == package.architecture)
    });
    let found = found.next();
    let fault = match (found, test.installed) {
        (None, true) => Some("it is not installed".to_owned()),
        (None, false) => None,
        (Some(package), false) => Some(format!(
            "version {} is installed",
            printable(&package.version)
        )),
        (Some(package), true) => match &test.version {
            None => None,
            Some(relation) => {
                let version = &package.version;
                let holds = relation.holds(version);
                let holds = holds.with_context(|| format!("{version:?} is no version"))?;
                (!holds).then(|| format!("its version is {version}"))
            }
        },
    };
    Ok(fault.into_iter().collect())
}

/// Where systemd finds units, the first one counts (systemd.unit(5)).
const UNIT_DIRS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// What is wrong with what is known of the unit before anything runs.
pub(super) fn unit(test: &spec::Unit, subject: &Subject) -> Result<Vec<String>> {
    let root = subject.root()?;
    let name = full_name(&test.unit);
    let mut faults = Vec::new();
    let masked = is_masked(subject, &name)?;
    if let Some(wanted) = test.masked.filter(|wanted| *wanted != masked) {
        let word = if wanted { "is not" } else { "is" };
        faults.push(format!("it {word} masked"));
    }
    let Some(wanted) = test.enabled else {
        return Ok(faults);
    };
    let mut there = false;
    for dir in UNIT_DIRS {
        for file in [Some(name.clone()), template(&name)].into_iter().flatten() {
            there |= root
                .lookup_link(format!("{dir}/{file}").as_bytes())?
                .is_some();
        }
    }
    let by = wanted_by(subject, &name)?;
    match (wanted, by) {
        (true, _) if masked => faults.push("it is masked".to_owned()),
        (true, _) if !there => faults.push("there is no such unit".to_owned()),
        (true, None) => faults.push("nothing starts it".to_owned()),
        (false, Some(by)) if !masked => faults.push(format!("{} starts it", printable(&by))),
        _ => {}
    }
    Ok(faults)
}

/// systemctl takes a name without a suffix for a service.
pub(super) fn full_name(unit: &str) -> String {
    const SUFFIXES: [&str; 11] = [
        ".service",
        ".socket",
        ".device",
        ".mount",
        ".automount",
        ".swap",
        ".target",
        ".path",
        ".timer",
        ".slice",
        ".scope",
    ];
    if SUFFIXES.iter().any(|suffix| unit.ends_with(suffix)) {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    }
}

/// The template of an instance: `getty@.service` of `getty@tty1.service`.
fn template(name: &str) -> Option<String> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

fn is_masked(subject: &Subject, name: &str) -> Result<bool> {
    let root = subject.root()?;
    let path = format!("{}/{name}", UNIT_DIRS[0]);
    Ok(match root.lookup_link(path.as_bytes())? {
        Some(link) if link.kind == Kind::Symlink => root.target(&link)? == b"/dev/null",
        Some(file) => file.kind == Kind::File && file.size == 0,
        None => false,
    })
}

/// What pulls the unit in when the system starts, by the links that `systemctl enable` and
/// packages make, or an alias that something else starts.
fn wanted_by(subject: &Subject, name: &str) -> Result<Option<String>> {
    for dir in UNIT_DIRS {
        for entry in subject.root()?.names(dir)? {
            let pulls = [".wants", ".requires", ".upholds"];
            let of = pulls.iter().find_map(|suffix| entry.strip_suffix(suffix));
            let Some(of) = of else { continue };
            let names = subject.root()?.names(&format!("{dir}/{entry}"))?;
            if names.iter().any(|unit| unit == name) {
                return Ok(Some(of.to_owned()));
            }
        }
    }
    // `systemctl set-default`, display-manager.service and the like.
    let root = subject.root()?;
    for alias in ["default.target", "display-manager.service"] {
        let path = format!("{}/{alias}", UNIT_DIRS[0]);
        if let Some(link) = root.lookup_link(path.as_bytes())? {
            let target = match link.kind {
                Kind::Symlink => root.target(&link)?,
                _ => continue,
            };
            if target.rsplit(|b| *b == b'/').next() == Some(name.as_bytes()) {
                return Ok(Some(alias.to_owned()));
            }
        }
    }
    Ok(None)
}

/// What is wrong with the user.
pub(super) fn user(test: &spec::User, subject: &Subject) -> Result<Vec<String>> {
    let passwd = subject.text("/etc/passwd")?;
    let line = line_of(&passwd, &test.user);
    let Some(fields) = line else {
        let fault = "there is no such user".to_owned();
        return Ok(test.exists.then_some(fault).into_iter().collect());
    };
    if !test.exists {
        return Ok(vec![format!("there is one, number {}", field(&fields, 2))]);
    }
    let mut faults = Vec::new();
    let mut compare = |what: &str, wanted: Option<String>, found: &str| {
        if let Some(wanted) = wanted.filter(|wanted| wanted != found) {
            faults.push(format!("the {what} is {}, not {wanted}", printable(found)));
        }
    };
    compare(
        "uid",
        test.uid.map(|uid| uid.to_string()),
        field(&fields, 2),
    );
    compare("home", test.home.clone(), field(&fields, 5));
    compare("shell", test.shell.clone(), field(&fields, 6));
    let shadow = subject.text("/etc/shadow")?;
    let password = Passwords::of(&shadow).get(&test.user);
    if test.password.is_some_and(|wanted| wanted != password) {
        faults.push(match password {
            Password::Set => "a password is set".to_owned(),
            Password::Locked => "the password is locked".to_owned(),
            Password::Empty => "no password is needed".to_owned(),
        });
    }
    let groups = subject.text("/etc/group")?;
    for group in &test.groups {
        let fields = line_of(&groups, group);
        let member = fields.is_some_and(|group| {
            field(&group, 3).split(',').any(|name| name == test.user)
                || field(&group, 2) == field(&fields_of(&passwd, &test.user), 3)
        });
        if !member {
            faults.push(format!("the user is not in the group {group}"));
        }
    }
    if let Some(wanted) = test.keys {
        let path = format!("{}/.ssh/authorized_keys", field(&fields, 5));
        let there = subject.text(&path)?;
        let there = there
            .lines()
            .any(|line| !line.trim().is_empty() && !line.starts_with('#'));
        if there != wanted {
            let word = if there { "there are" } else { "there are no" };
            faults.push(format!("{word} keys in {}", printable(&path)));
        }
    }
    Ok(faults)
}

fn fields_of<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    line_of(text, name).unwrap_or_default()
}

/// The fields of the line that begins with `name:`.
fn line_of<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
}

fn field<'a>(fields: &[&'a str], number: usize) -> &'a str {
    fields.get(number).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units() {
        assert_eq!(full_name("ssh"), "ssh.service");
        assert_eq!(full_name("a.timer"), "a.timer");
        assert_eq!(
            template("getty@tty1.service").as_deref(),
            Some("getty@.service")
        );
        assert_eq!(template("getty@.service"), None);
        assert_eq!(template("ssh.service"), None);
    }
}
