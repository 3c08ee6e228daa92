//! A root with trixie's own packages for this machine's processor, and stage 3's files in it; and
//! the namespaces in which its services run, with a network between the box and the outside.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const PACKAGES: &str = "nginx-light,php-fpm,postfix,postfix-ldap,dovecot-imapd,dovecot-lmtpd,\
    dovecot-sieve,dovecot-managesieved,dovecot-ldap,roundcube-core,roundcube-sqlite3,\
    roundcube-plugins,slapd,ldap-utils,openssl,nftables,openssh-server,age,procps";
const DEBCONF: &str = "postfix postfix/main_mailer_type select No configuration\n\
    slapd slapd/no_configuration boolean true\n\
    roundcube-core roundcube/dbconfig-install boolean false\n";

/// The box as the Internet sees it, and as the home network does.
pub(crate) const BOX: &str = "203.0.113.1";
pub(crate) const BOX6: &str = "2001:db8::1";
pub(crate) const HOME: &str = "10.20.0.11";

pub(crate) fn shell(line: &str) -> String {
    let output = Command::new("bash").args(["-ec", line]).output().unwrap();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{line}\n{said}");
    said
}

/// Starts the test of this name again in namespaces of its own; true there.
pub(crate) fn inside(test: &str) -> bool {
    const INSIDE: &str = "WESTWORK_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--mount-proc",
            "--fork",
            "--kill-child",
            "--",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(INSIDE, archive())
        .status()
        .expect("unshare");
    assert!(status.success(), "{test}: {status}");
    false
}

/// The packages, unpacked once and kept.
fn archive() -> PathBuf {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-cache");
    let cache = std::env::var_os("WESTWORK_TEST_CACHE").map_or(tree, PathBuf::from);
    let archive = cache.join("box-trixie.tar");
    if !archive.exists() {
        std::fs::create_dir_all(&cache).unwrap();
        // Not that of the security updates, which may come first.
        let mirror = shell(
            "apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
             sed -n 's/^Debian|//p' | head -n 1",
        );
        let part = archive.with_extension("part");
        shell(&format!(
            "mmdebstrap --quiet --variant=apt --format=tar --include={PACKAGES} \
             --essential-hook='printf \"{}\" | chroot \"$1\" debconf-set-selections' \
             trixie '{}' {}",
            DEBCONF.replace('\n', "\\n"),
            part.display(),
            mirror.trim()
        ));
        std::fs::rename(part, &archive).unwrap();
    }
    archive.canonicalize().unwrap()
}

pub(crate) struct Box {
    pub(crate) root: PathBuf,
    _directory: tempfile::TempDir,
    services: Vec<Child>,
}

impl Box {
    /// With the files that the image has, before set-up.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = directory.path().join("root");
        let at = root.display();
        let archive = std::env::var("WESTWORK_TEST_INSIDE").unwrap();
        shell(&format!(
            "mkdir '{at}'; mount --make-rprivate /; mount --bind '{at}' '{at}'; cd '{at}'; tar xpf '{archive}' --exclude=./dev/*
             mount -t proc proc proc; mount --rbind /dev dev; mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs /run
             mkdir -p run/sshd run/php run/slapd run/lock; chown openldap: run/slapd; mkdir -p /run/netns"
        ));
        let stage = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stages/stage3");
        let stage = stage.canonicalize().unwrap();
        shell(&format!(
            "export ROOTFS_DIR='{at}'
             on_chroot() {{ chroot \"$ROOTFS_DIR\" bash -e \"$@\"; }}; export -f on_chroot
             cd '{0}/02-conf'; bash -e ./00-run.sh
             install -D -m 755 -t '{at}/usr/lib/westwork' '{0}/03-units/files/roundcube-database'
             install -d '{at}/var/spool/postfix/private' -m 700; chroot '{at}' chown postfix /var/spool/postfix/private
             install -m 755 '{1}' '{at}/usr/bin/westwork'; rm -rf '{at}/data/conf/matrix-synapse'
             chroot '{at}' useradd -m pi; echo 'pi:a login of the image' | chroot '{at}' chpasswd",
            stage.display(),
            env!("CARGO_BIN_EXE_westwork"),
        ));
        network();
        Self {
            root,
            _directory: directory,
            services: Vec::new(),
        }
    }

    /// A shell line in the box.
    pub(crate) fn sh(&self, line: &str) -> String {
        shell(&format!(
            "ip netns exec box chroot '{}' sh -ec {}",
            self.root.display(),
            quoted(line)
        ))
    }

    pub(crate) fn start(&mut self, line: &str) {
        let child = Command::new("ip")
            .args(["netns", "exec", "box", "chroot"])
            .arg(&self.root)
            .args(["sh", "-ec", &format!("exec {line}")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.services.push(child);
    }

    /// Everything that westwork.target starts.
    pub(crate) fn normal_use(&mut self) {
        // Daemons would keep a pipe open.
        self.sh("{ install -D -m 444 /data/conf/tls/fullchain.pem /run/westwork/slapd.pem
            install -m 400 -o openldap -g openldap /data/conf/tls/privkey.pem /run/westwork/slapd.key
            . /data/conf/slapd/environment; slapd -f $SLAPD_CONF -h \"$SLAPD_SERVICES\" -u openldap -g openldap
            /usr/lib/westwork/roundcube-database
            nft -f /data/conf/nftables/nftables.conf
            MAIL_CONFIG=/data/conf/postfix postfix start
            nginx -c /data/conf/nginx/nginx.conf
            ssh-keygen -A; /usr/sbin/sshd; } >/run/start.log 2>&1 </dev/null || { cat /run/start.log; exit 1; }");
        self.sh("printf 'log_path = /run/dovecot.log\\n' >> /data/conf/dovecot/dovecot.conf");
        self.start("dovecot -F -c /data/conf/dovecot/dovecot.conf");
        let php = shell(&format!(
            "cd '{}/usr/sbin'; ls php-fpm*",
            self.root.display()
        ));
        self.start(&format!("{} -F -R", php.trim()));
        self.sh("for i in $(seq 100); do set -- /run/php/php[0-9]*-fpm.sock
            if [ -S $1 ] && [ -S /var/spool/postfix/private/auth ]; then ln -sf $1 /run/php/php-fpm.sock; exit; fi
            sleep 0.2; done; exit 1");
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        // All else ends with the namespace.
        for child in &mut self.services {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn quoted(line: &str) -> String {
    format!("'{}'", line.replace('\'', "'\\''"))
}

/// The box in a namespace "box"; here is everybody else, with many addresses.
fn network() {
    shell(&format!(
        "ip netns add box; ip link set lo up; ip -n box link set lo up
         ip link add outside type veth peer name eth0 netns box
         ip -n box addr add {BOX}/24 dev eth0; ip -n box addr add {HOME}/24 dev eth0
         ip -n box addr add {BOX6}/64 dev eth0 nodad; ip -n box link set eth0 up
         ip addr add 203.0.113.5/24 dev outside; ip addr add 203.0.113.6/24 dev outside
         for n in 10 11 12 13 14 15 16; do ip addr add 203.0.113.$n/24 dev outside; done
         ip addr add 10.20.0.1/24 dev outside; ip addr add 2001:db8::5/64 dev outside nodad; ip link set outside up"
    ));
}
