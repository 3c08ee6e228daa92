//! The command line.
#![allow(missing_docs, reason = "a doc comment here is help that users read")]

use crate::images::audit::args::AuditArgs;
use crate::images::boot::args::BootArgs;
use crate::images::diff::args::DiffArgs;
use crate::images::flash::args::FlashArgs;
use crate::images::inspect::args::InspectArgs;
use crate::images::report::args::ReportArgs;
use crate::images::test::args::TestArgs;
use crate::images::verify::args::VerifyArgs;
use crate::layers::clean;
use crate::native::{cross, python};
use crate::steps::bootstrap;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Builds bootable Raspberry Pi images from stage directories.
#[derive(Debug, Parser)]
#[command(version = env!("WESTWORK_VERSION"), max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the image and leave it in the deploy directory
    Build(BuildArgs),
    /// Make a folder that builds an image of your own
    New {
        /// The folder; its last part is the image's name and its host's
        #[arg(required_unless_present = "list")]
        name: Option<PathBuf>,
        /// What it begins as
        #[arg(long)]
        recipe: Option<String>,
        /// List the recipes
        #[arg(long, conflicts_with_all = ["name", "recipe"])]
        list: bool,
    },
    /// Print every step in order: whether it would run, and why
    Plan {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print it as JSON, for programs (docs/events.md)
        #[arg(long)]
        json: bool,
    },
    /// Print what differs for a stage or step from the layer last built
    Why {
        #[command(flatten)]
        config: ConfigArgs,
        /// Stage or step, as `plan` names it
        step: String,
        /// Print it as JSON, for programs (docs/events.md)
        #[arg(long)]
        json: bool,
    },
    /// Say what a config key, a stage's variable, a step or a message is
    Explain {
        #[command(flatten)]
        config: ConfigArgs,
        /// KEY, STEP as `plan` names it, or the text of a MESSAGE
        #[arg(required = true, value_name = "KEY|STEP|MESSAGE")]
        words: Vec<String>,
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
        /// Print it as JSON, for programs (docs/events.md)
        #[arg(long)]
        json: bool,
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
        /// Look at what is there after this stage or step; default: where the last build stopped
        at: Option<String>,
        /// Keep what the shell changes, aside from the build, for the next shell at the same place
        #[arg(long)]
        keep: bool,
    },
    /// Start an image in QEMU, console on this terminal, the image untouched
    Boot(BootArgs),
    /// Test an image: its files, and in QEMU the running system
    Test(TestArgs),
    /// Write an image to a card, read it back, and set up its first boot
    Flash(Box<FlashArgs>),
    /// Show partitions, boot files, packages and first-boot state of an image
    Inspect(InspectArgs),
    /// Write a page about an image: what is in it, and why it is so big
    Report(ReportArgs),
    /// Find the known vulnerabilities of an image, a bill of materials or a lock file
    Audit(Box<AuditArgs>),
    /// Check that an image and what lies beside it belong together, unchanged
    Verify(VerifyArgs),
    /// Compare two images: packages, files, boot configuration, partitions
    Diff(DiffArgs),
    /// Print a JSON Schema: of config.toml, for editors that check and complete it, or of what
    /// this program says as JSON
    Schema {
        #[arg(value_enum, default_value_t = SchemaOf::Config)]
        what: SchemaOf,
    },
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
    /// Build exactly the packages of westwork.lock, without a network: all from the package cache
    #[arg(long)]
    pub offline: bool,
    /// Take layers, tools and packages from this shared cache: a folder, or a URL such as
    /// s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    pub cache_from: Option<String>,
    /// Give what is built to this shared cache
    #[arg(long, value_name = "URL")]
    pub cache_to: Option<String>,
    /// Run every program of the image under emulation, none natively (slow; for comparison)
    #[arg(long)]
    pub emulate: bool,
    /// Test each image by the tests.toml of its stage, in QEMU, too
    #[arg(long)]
    pub test: bool,
    /// Write the results of --test into this directory in JUnit's format, as NAME.xml
    #[arg(long, value_name = "DIR", requires = "test")]
    pub junit: Option<PathBuf>,
    /// End with a table of where the time went
    #[arg(long)]
    pub timings: bool,
    /// Write what happens to FILE, a line of JSON an event; `-` is standard output, where nothing
    /// else is written then (docs/events.md)
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Another command holds the work directory for this build and others, and hands the
    /// settings over on standard input
    #[arg(long, hide = true)]
    pub one_of_several: bool,
}

/// What `schema` prints the schema of.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SchemaOf {
    /// config.toml
    Config,
    /// A line of `build --events`
    Events,
    /// `plan --json`
    Plan,
    /// `check --json`
    Check,
    /// `why --json`
    Why,
    /// `test --json`
    Test,
    /// tests.toml
    Tests,
    /// variables.toml of a stage
    Variables,
    /// `audit --json`
    Audit,
    /// vex.toml
    Vex,
    /// `verify --json`
    Verify,
}

/// How `build` tells the builds of its variants that it holds the work directory.
pub const ONE_OF_SEVERAL: &str = "--one-of-several";

/// Where the settings come from.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Read this file after `config` (bash, or TOML when its name ends in .toml). With several,
    /// one image is built of each
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Set one key; this wins over files and environment. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Internal {
    /// Run a program on the host side of the sandbox, in a process namespace of its own
    Host {
        #[command(flatten)]
        told: Told,
        #[arg(last = true)]
        argv: Vec<OsString>,
    },
    /// Run a program, or a script from standard input, in a root file system
    Chroot {
        #[command(flatten)]
        told: Told,
        /// `-`: read a bash script from standard input
        #[arg(long)]
        script: Option<String>,
        root: PathBuf,
        #[arg(last = true)]
        argv: Vec<OsString>,
    },
    /// Make the first root file system
    Bootstrap(bootstrap::Words),
    /// Compile a program of the tree's cargo workspace for the target
    CrossBuild(cross::Request),
    /// Make a Python environment of the target from locked wheels
    PythonEnv(python::Request),
    /// What a container must have of this machine, for build-docker.sh: a line each
    Mounts(ConfigArgs),
    /// Empty a work directory
    Empty { work_dir: PathBuf },
    /// Export a root file system, which is changed by it, as an image
    Export(ExportArgs),
}

/// What the step is told.
#[derive(Debug, Clone, Args)]
pub struct Told {
    /// File with the step's context
    #[arg(long, default_value = crate::layers::context::PATH)]
    pub context: PathBuf,
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
