//! The command line.

use crate::{bootstrap, clean, cross, python};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Builds bootable Raspberry Pi images from stage directories.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the image and leave it in the deploy directory
    Build(BuildArgs),
    /// Print every step in order: whether it would run, and why
    Plan {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print what differs for a stage or step from the layer last built
    Why {
        #[command(flatten)]
        config: ConfigArgs,
        /// Stage or step, as `plan` names it
        step: String,
    },
    /// Remove layers that the last builds do not need
    Clean {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        what: clean::What,
    },
    /// List every problem of config, stage tree and host, each with its remedy
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Write the last build's packages to westwork.lock, or bring it up to date
    Lock {
        #[command(flatten)]
        config: ConfigArgs,
        /// Take the versions that the archive has now, and show what changes: all, or only
        /// PACKAGE and what it needs
        #[arg(long, value_name = "PACKAGE")]
        update: Option<Option<String>>,
    },
    /// Open a shell in what the last build made, or where it failed
    Shell {
        #[command(flatten)]
        config: ConfigArgs,
        /// Stage or step after which to look; default: where the last build stopped
        at: Option<String>,
        /// Keep the changes aside, for the next such shell
        #[arg(long)]
        keep: bool,
    },
    /// Start an image in QEMU, console on this terminal, the image untouched
    Boot(BootArgs),
    /// Write an image to a card, read it back, and set up its first boot
    Flash(Box<FlashArgs>),
    /// Show partitions, boot files, packages and first-boot state of an image
    Inspect(InspectArgs),
    /// Compare two images: packages, files, boot configuration, partitions
    Diff(DiffArgs),
    /// Parts of a build that this program runs in processes of their own
    #[command(hide = true, subcommand)]
    Internal(Internal),
}

#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Install missing host packages with apt first (as root or through sudo)
    #[arg(long)]
    pub install_deps: bool,
    /// Resume the interrupted build (same as CONTINUE=1)
    #[arg(long = "continue")]
    pub resume: bool,
    /// Build exactly the packages of westwork.lock
    #[arg(long)]
    pub locked: bool,
    /// The same from the package cache alone, without a network
    #[arg(long)]
    pub offline: bool,
    /// Take layers, tools and packages from this shared cache: a folder, or a URL such as
    /// s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    pub cache_from: Option<String>,
    /// Give what is built to this shared cache
    #[arg(long, value_name = "URL")]
    pub cache_to: Option<String>,
    /// Emulate every target program, none natively (slow; for comparison)
    #[arg(long)]
    pub emulate: bool,
    /// End with a table of where the time went
    #[arg(long)]
    pub timings: bool,
    /// Another command holds the work directory for this build and others
    #[arg(long, hide = true)]
    pub one_of_several: bool,
}

/// How `build` tells the builds of its variants that it holds the work directory.
pub const ONE_OF_SEVERAL: &str = "--one-of-several";

/// Where the settings come from.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Read this file after `config` (bash, or TOML when it ends in .toml); several files are
    /// several images
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Set one key, over everything else
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct BootArgs {
    /// `.img`, or one of its compressed forms
    pub image: PathBuf,
    /// Wait for the login prompt and for systemd's verdict, then exit 0 or 1
    #[arg(long)]
    pub test: bool,
    /// Give up after so many seconds (with --test)
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub timeout: u64,
    /// Size of the card the image is put on, a power of two
    #[arg(long, default_value = "8G", value_name = "SIZE")]
    pub size: String,
    /// Keep the card as the machine leaves it, in this file
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Write the console's output here as well
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct FlashArgs {
    /// `.img`, or one of its compressed forms; a `.bmap` beside it is used
    pub image: PathBuf,
    /// Whole disk such as /dev/sdb, or a file; without it, removable disks are listed
    pub device: Option<PathBuf>,
    /// Do not ask before overwriting
    #[arg(short, long)]
    pub yes: bool,
    /// Also write to a disk that is not removable, if it is this one (such as nvme0n1)
    #[arg(long, value_name = "NAME")]
    pub fixed_disk: Option<String>,
    /// Make the file this large (for a file that is not there yet)
    #[arg(long, value_name = "SIZE")]
    pub size: Option<String>,
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
    /// Public key(s) for the first user; SSH is enabled, for keys only
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// Wi-Fi network; its password is asked for
    #[arg(long, value_name = "SSID")]
    pub wifi: Option<String>,
    /// Read the Wi-Fi password from a file's first line; empty: an open network
    #[arg(long, value_name = "FILE", requires = "wifi")]
    pub wifi_password_file: Option<PathBuf>,
    /// Country whose rules Wi-Fi follows, such as GB
    #[arg(long, value_name = "CC")]
    pub country: Option<String>,
    /// Time zone, such as Europe/London
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// `.img`, or one of its compressed forms; only read
    pub image: PathBuf,
    /// List the packages, too
    #[arg(long)]
    pub packages: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit code: 0 if nothing differs, 1 if something does, 2 if that cannot be said."
)]
pub struct DiffArgs {
    /// `.img`, or one of its compressed forms; only read
    pub a: PathBuf,
    /// The same; what it has more is shown as added
    pub b: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Internal {
    /// Run a program on the host side of the sandbox, in a process namespace of its own
    Host {
        #[arg(last = true)]
        argv: Vec<OsString>,
    },
    /// Run a program, or a script from standard input, in a root file system
    Chroot {
        /// `-`: read a bash script from standard input
        #[arg(long)]
        script: Option<String>,
        root: PathBuf,
        #[arg(last = true)]
        argv: Vec<OsString>,
    },
    /// Make the first root file system
    Bootstrap(bootstrap::Request),
    /// Compile a program of the tree's cargo workspace for the target
    CrossBuild(cross::Request),
    /// Make a Python environment of the target from locked wheels
    PythonEnv(python::Request),
    /// Export a root file system, which is changed by it, as an image
    Export(ExportArgs),
}

/// An export without a build: for the benchmark, and for trees from elsewhere.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    pub root: PathBuf,
    pub deploy_dir: PathBuf,
    /// Stem of all file names
    #[arg(long, default_value = "image")]
    pub name: String,
    #[command(flatten)]
    pub config: ConfigArgs,
}
