//! Rows about the device: who may use it, and where it is.

macro_rules! device_rows {
    (($next:ident $($then:ident)*) $($before:tt)*) => { $next! { ($($then)*) $($before)*
        /// Name of the device in its network.
        TARGET_HOSTNAME target_hostname: String = |r| r.checked(people::host_name);
        { group: Group::Access, kind: Kind::Text, default: "westwork", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Name of the first user, who has sudo and the hardware groups.
        FIRST_USER_NAME first_user_name: String = |r| people::user_name(r);
        { group: Group::Access, kind: Kind::Text, default: "westwork", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Password of the first user. There is no default: with neither a password nor a key, the
        /// first boot asks on the screen for a name and a password. root can never log in with one.
        FIRST_USER_PASS first_user_pass: Option<String> = |r| r.text(|_| Ok(()));
        { group: Group::Access, kind: Kind::Text, default: "", example: "",
          secrecy: Secrecy::Secret, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Public SSH keys of the first user, a line each, as authorized_keys has them.
        PUBKEY_SSH_FIRST_USER pubkey_ssh_first_user: Option<String> = |r| r.text(people::public_keys);
        { group: Group::Access, kind: Kind::Text, default: "", example: "'ssh-ed25519 AAAA… you@example.org'",
          secrecy: Secrecy::Personal, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// 1: the first boot does not ask for the first user's name and password.
        DISABLE_FIRST_BOOT_USER_RENAME disable_first_boot_user_rename: bool = |r| r.value(values::flag);
        { group: Group::Access, kind: Kind::Flag, default: "0", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// 1: sudo does not ask for the password. Without a password but with a key this is the only
        /// way to sudo.
        PASSWORDLESS_SUDO passwordless_sudo: bool = |r| r.value(values::flag);
        { group: Group::Access, kind: Kind::Flag, default: "0", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// 1: the SSH server runs.
        ENABLE_SSH enable_ssh: bool = |r| r.value(values::flag);
        { group: Group::Access, kind: Kind::Flag, default: "0", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// 1: the SSH server accepts keys only. PUBKEY_SSH_FIRST_USER must be set.
        PUBKEY_ONLY_SSH pubkey_only_ssh: bool = |r| r.value(values::flag);
        { group: Group::Access, kind: Kind::Flag, default: "0", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// 1: stages set up cloud-init. The project's own stage 2 does so for raspios alone.
        ENABLE_CLOUD_INIT enable_cloud_init: bool = |r| r.value(values::flag);
        { group: Group::Access, kind: Kind::Flag, default: "0", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// A locale with UTF-8.
        LOCALE_DEFAULT locale_default: String = |r| lists::named(r, lists::locale);
        { group: Group::Place, kind: Kind::Text, default: "en_GB.UTF-8", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Keyboard layout as X names it.
        KEYBOARD_KEYMAP keyboard_keymap: String = |r| lists::named(r, lists::keyboard);
        { group: Group::Place, kind: Kind::Text, default: "gb", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Keyboard layout in words, as X describes it.
        KEYBOARD_LAYOUT keyboard_layout: String = |r| r.checked(people::words);
        { group: Group::Place, kind: Kind::Text, default: "English (UK)", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Time zone, as the tz database names it.
        TIMEZONE_DEFAULT timezone_default: String = |r| lists::named(r, lists::time_zone);
        { group: Group::Place, kind: Kind::Text, default: "Europe/London", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Country whose rules Wi-Fi follows, two letters. Without it the radio stays off.
        WPA_COUNTRY wpa_country: Option<String> = |r| r.text(releases::country);
        { group: Group::Place, kind: Kind::Text, default: "", example: "GB",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }
    } };
}
