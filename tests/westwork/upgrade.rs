//! Newer packages of the services, as Debian would publish them: the image's own ones with a
//! higher version and changed configuration files, in a repository on a second disk.

use crate::machine::Machine;
use crate::{run, succeed};
use std::path::{Path, PathBuf};

/// Added to the versions.
const NEWER: &str = "+newer1";

/// What the services are made of. Those of one source name each other's exact version.
const PACKAGES: &str = "nginx nginx-common nginx-light postfix postfix-ldap dovecot-core \
    dovecot-imapd dovecot-ldap dovecot-lmtpd dovecot-managesieved dovecot-sieve";

/// Their files, of those that builds have left in `cache`, or of what [`fetch`] has.
fn packages(cache: &Path) -> Vec<PathBuf> {
    let in_dir = |dir: PathBuf| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                let package = name.split('_').next().unwrap_or_default();
                name.contains(".deb") && PACKAGES.split_whitespace().any(|it| it == package)
            })
            .collect();
        found.sort();
        found
    };
    let pool = in_dir(cache.join("packages/arm64"));
    if is_enough(&pool) {
        return pool;
    }
    in_dir(fetched(cache))
}

fn is_enough(found: &[PathBuf]) -> bool {
    found.len() >= PACKAGES.split_whitespace().count()
}

fn fetched(cache: &Path) -> PathBuf {
    cache.join("services-arm64")
}

/// Gets them from the archive that this machine's apt uses, if no build has: a finished image may
/// have been built elsewhere.
pub(crate) fn fetch(cache: &Path) {
    if is_enough(&packages(cache)) {
        return;
    }
    let (apt, to) = (tempfile::tempdir().unwrap(), fetched(cache));
    succeed(&format!(
        "set -e; cd '{apt}'; mkdir -p lists/partial archives/partial etc/preferences.d; : > status
         mirror=$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|//p' | head -n 1)
         echo \"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main\" > sources.list
         own() {{ apt-get -qq -o Dir::State='{apt}' -o Dir::Cache='{apt}' -o Dir::State::status='{apt}/status' \
             -o Dir::Etc='{apt}/etc' -o Dir::Etc::SourceList='{apt}/sources.list' -o Dir::Etc::SourceParts=/dev/null \
             -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
             -o Acquire::Languages=none \"$@\"; }}
         own update; rm -rf '{to}'; mkdir -p '{to}'; cd '{to}'; own download {PACKAGES}",
        apt = apt.path().display(),
        to = to.display(),
    ));
}

/// A disk image in `dir` with the repository.
pub(crate) fn disk(cache: &Path, dir: &Path) -> PathBuf {
    let packages = packages(cache);
    assert!(
        is_enough(&packages),
        "the services' packages are not in {}: {packages:?}",
        cache.display()
    );
    let (root, disk) = (dir.join("newer"), dir.join("newer.img"));
    std::fs::create_dir_all(&root).unwrap();
    for package in &packages {
        // Relations between packages of one source name its exact version.
        let line = format!(
            "set -e; rm -rf unpacked; dpkg-deb -R '{}' unpacked; cd unpacked
             version=$(sed -n 's/^Version: //p' DEBIAN/control)
             plain=$(printf %s \"$version\" | sed 's/[+.]/[&]/g')
             sed -i \"s/$plain/&{NEWER}/g\" DEBIAN/control
             for file in etc/nginx/nginx.conf etc/dovecot/dovecot.conf; do
                 [ ! -e $file ] || echo '# newer' >> $file
             done
             cd ..; dpkg-deb -Znone --root-owner-group -b unpacked newer >/dev/null
             rm -rf unpacked",
            package.display()
        );
        run("sh", &["-c", &format!("cd '{}'; {line}", dir.display())]);
    }
    succeed(&format!(
        "cd '{}' && apt-ftparchive packages . > Packages",
        root.display()
    ));
    let (root, image) = (root.to_str().unwrap(), disk.to_str().unwrap());
    run("mke2fs", &["-q", "-t", "ext4", "-d", root, image, "128M"]);
    disk
}

/// Upgrades, without a question and without touching /data/conf, which stays in use.
pub(crate) fn upgrade(machine: &mut Machine) {
    let sums = "cd /data/conf && find . -type f -o -type l | LC_ALL=C sort | xargs ls -ld --time-style=+%s && \
                find . -type f | LC_ALL=C sort | xargs sha256sum";
    let before = machine.sh(sums);
    let said = machine.sh("mount -o ro /dev/vdb /mnt
        echo 'deb [trusted=yes] file:/mnt ./' > /run/newer.list
        only='-o Dir::Etc::SourceList=/run/newer.list -o Dir::Etc::SourceParts=/dev/null'
        export DEBIAN_FRONTEND=noninteractive
        apt-get $only update && apt-get $only -y upgrade && umount /mnt");
    assert!(!said.contains("onfiguration file"), "{said}");
    for package in ["nginx", "postfix", "dovecot-core", "dovecot-imapd"] {
        let version = machine.sh(&format!("dpkg-query -W -f '${{Version}}' {package}"));
        assert!(version.ends_with(NEWER), "{package} {version}:\n{said}");
    }
    assert_eq!(machine.sh(sums), before, "/data/conf has changed");
    let changed = machine.attempt("dpkg --verify nginx-common dovecot-core postfix");
    assert_eq!(changed.text.trim(), "", "files of packages were changed");
    for (service, word) in [
        ("nginx", "/data/conf/nginx/nginx.conf"),
        ("dovecot", "/data/conf/dovecot"),
    ] {
        let line = machine.sh(&format!(
            "tr '\\0' ' ' < /proc/$(systemctl show -P MainPID {service})/cmdline"
        ));
        assert!(line.contains(word), "{service} runs as {line}");
    }
    let line = machine
        .sh("postconf -c /data/conf/postfix -h config_directory; pgrep -x master >/dev/null");
    assert!(line.contains("/data/conf/postfix"), "{line}");
}
