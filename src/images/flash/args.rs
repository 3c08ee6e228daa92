//! What `flash` is called with.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub struct FlashArgs {
    /// `.img`, or one of its compressed forms; a `.bmap` beside it is used
    pub image: PathBuf,
    /// Whole disk such as /dev/sdb, or a file; without it, removable disks are listed
    pub device: Option<PathBuf>,
    /// Do not ask before overwriting
    #[arg(short, long)]
    pub yes: bool,
    /// Allow writing to a disk that is not removable: its name again, such as nvme0n1
    #[arg(long, value_name = "NAME")]
    pub fixed_disk: Option<String>,
    /// Make a new file of this size, instead of writing to a disk
    #[arg(long, value_name = "SIZE")]
    pub size: Option<String>,
    /// Write what the file holds even if it is no image that can be recognised
    #[arg(long)]
    pub force_raw: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What the first boot sets.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "First boot")]
pub struct SettingsArgs {
    /// Host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Name of the first user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Ask for the user's password
    #[arg(long, requires = "user", conflicts_with = "password_file")]
    pub password: bool,
    /// Read the user's password from a file's first line
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Public keys for the first user, with or without options; SSH is enabled, for keys only
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// Wi-Fi network; its password is asked for
    #[arg(long, value_name = "SSID", allow_hyphen_values = true)]
    pub wifi: Option<String>,
    /// Read the Wi-Fi password from a file's first line; empty: an open network
    #[arg(long, value_name = "FILE", requires = "wifi")]
    pub wifi_password_file: Option<PathBuf>,
    /// The Wi-Fi network does not send its name
    #[arg(long, requires = "wifi")]
    pub wifi_hidden: bool,
    /// Country whose rules Wi-Fi follows, such as GB
    #[arg(long, value_name = "CC")]
    pub country: Option<String>,
    /// Time zone, such as Europe/London
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
}
