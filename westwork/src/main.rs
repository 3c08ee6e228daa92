//! The command line of the program on the device.

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use westwork::checks::Verdict;
use westwork::people::Users;
use westwork::root::Root;
use westwork::secrets::Secret;
use westwork::status::Status;

/// A personal cloud in a box: set it up, look after its users, keep its data
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Work on the system in this directory
    #[arg(long, global = true, default_value = "/", hide_default_value = true)]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Render the templates below /data/conf, check the result and use it
    Render {
        /// Check only, change nothing
        #[arg(long)]
        check_only: bool,
    },
    /// Serve the set-up page until the box is configured
    Setup {
        /// Where to listen; only private addresses are answered
        #[arg(long, default_value = "0.0.0.0:80")]
        listen: Vec<std::net::SocketAddr>,
        /// A name that the box answers to, besides its addresses
        #[arg(long, default_value = "westwork.local")]
        name: Vec<String>,
    },
    /// Say what runs, how full the disk is and how long the certificate is valid
    Status {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Look after the people who have mail and chat
    #[command(subcommand)]
    User(User),
    /// Make the key that backups are encrypted for, and show its secret half once
    ///
    /// Keep the line that is shown away from the box, on paper or in a password manager. It opens
    /// every backup made with this key; without it, none can be read by anybody.
    BackupKey {
        /// Take this public key ("age1…") instead of making one
        #[arg(long, value_name = "KEY")]
        public: Option<String>,
        /// In the place of the key there is; earlier backups still need that one
        #[arg(long)]
        replace: bool,
    },
    /// Write all of /data to a file, encrypted
    ///
    /// In it are mail, contacts, chat, the directory with the hashes of all passwords, the
    /// configuration, and the box's secrets and private keys: who can open it can be this box. It
    /// is encrypted by age for the key of `westwork backup-key`, and is read again before it gets
    /// its name. Services stop for as long as it takes to write.
    Backup {
        /// The file to write, outside of /data
        file: PathBuf,
    },
    /// Replace all of /data by a backup; its key is asked for, or the first line of standard input
    ///
    /// The whole backup is judged before anything is touched. A box that is set up takes its own
    /// backups only, a fresh one those of any box.
    Restore {
        /// The file that `westwork backup` wrote
        file: PathBuf,
        /// Read the secret key from this file
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Finish a restore that was interrupted at its last step; done at boot
    FinishRestore,
    /// Ask Let's Encrypt for the certificate; renew it, or the self-signed one
    Certificate,
    /// Write the set-up code on the card, and the access point's configuration; done at boot
    Announce,
    /// Forget owner, users, mail and chat, and go back to set-up with the next start
    ///
    /// Nothing of the household is left in any file: keys, certificates, configuration, mail on its
    /// way, logs. On a card that can trim, what was removed is erased as well.
    FactoryReset {
        /// Yes, really
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Subcommand)]
enum User {
    /// Add somebody; the password is asked for, or the first line of standard input
    Add {
        /// The part of the address before the @
        user: String,
        /// As others see it
        #[arg(long)]
        name: String,
        /// Give a name that was somebody's back to this person, with the mail and chat there are
        #[arg(long)]
        same_person: bool,
    },
    /// Show everybody
    List,
    /// Change a password; it is asked for, or the first line of standard input
    ///
    /// Mail programs and chat have to log in again.
    Passwd {
        /// Whose it is: the part of the address before the @
        user: String,
    },
    /// Remove somebody; mail stays
    ///
    /// All sessions end. Nobody else can have the name afterwards.
    Remove {
        /// Who goes: the part of the address before the @
        user: String,
        /// Remove the mail as well
        #[arg(long)]
        purge: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&Root::new(arguments.root), arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("westwork: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(root: &Root, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Render { check_only } => render(root, check_only),
        Command::Setup { listen, name } => westwork::web::serve(
            root,
            &westwork::web::Options {
                listen,
                names: name,
            },
        ),
        Command::Status { json } => {
            let status = Status::read(root)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&status)?)
            } else {
                print!("{status}")
            }
            Ok(())
        }
        Command::User(command) => user(root, command),
        Command::Backup { file } => {
            westwork::backup::backup(root, &file)?;
            println!("done: {} is written, and was read again", file.display());
            Ok(())
        }
        Command::BackupKey { public, replace } => backup_key(root, public, replace),
        Command::Restore { file, key_file } => {
            let key = match key_file {
                None => ask(root, "Secret key of the backup:")?,
                Some(path) => secret_key(&path)?,
            };
            westwork::backup::restore(root, &file, &key)
        }
        Command::Announce => westwork::announce::announce(root, false).map(drop),
        Command::FinishRestore => westwork::backup::finish_restore(root),
        Command::Certificate => {
            println!("{}", westwork::certificate::update(root)?);
            Ok(())
        }
        Command::FactoryReset { .. } => {
            westwork::reset::factory_reset(root)?;
            println!("done: with the next start the box is to be set up");
            Ok(())
        }
    }
}

fn render(root: &Root, check_only: bool) -> anyhow::Result<()> {
    let report = westwork::render::render(root, check_only)?;
    for (name, verdict) in &report.checks {
        if *verdict == Verdict::Passed {
            println!("{name} accepts its configuration");
        }
    }
    for file in &report.changed {
        println!(
            "{} {}",
            if check_only {
                "would change"
            } else {
                "changed"
            },
            file.display()
        );
    }
    println!(
        "{} files from templates, {} changed",
        report.rendered.len(),
        report.changed.len()
    );
    Ok(())
}

fn user(root: &Root, command: User) -> anyhow::Result<()> {
    let users = Users::open(root)?;
    match command {
        User::Add {
            user,
            name,
            same_person,
        } => {
            let user = users.add(&user, &name, same_person, &ask(root, "Password:")?)?;
            println!("{} can log in; the address is {}", user.name, user.mail);
        }
        User::List => users
            .list()?
            .iter()
            .for_each(|user| println!("{:<20} {:<30} {}", user.user, user.mail, user.name)),
        User::Passwd { user } => users.set_password(&user, &ask(root, "Password:")?)?,
        User::Remove { user, purge } => users.remove(&user, purge)?,
    }
    Ok(())
}

fn backup_key(root: &Root, public: Option<String>, replace: bool) -> anyhow::Result<()> {
    if let Some(public) = public {
        return westwork::backup::use_key(root, &public, replace);
    }
    let secret = westwork::backup::make_key(root, replace)?;
    println!("{}", secret.reveal());
    eprintln!(
        "This line opens your backups. Keep it away from the box; it is not shown again, and\nwithout it no backup can be read."
    );
    Ok(())
}

/// The first line of a key file that is no comment.
fn secret_key(path: &Path) -> anyhow::Result<Secret> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = text.lines().map(str::trim);
    let key = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let key = key.with_context(|| format!("{} has no key", path.display()))?;
    Ok(Secret::new(key))
}

/// Asks without an echo on a terminal; elsewhere takes the first line of standard input.
fn ask(root: &Root, question: &str) -> anyhow::Result<Secret> {
    let mut line = String::new();
    if std::io::stdin().is_terminal() {
        let answer = std::process::Command::new(root.path("/usr/bin/systemd-ask-password"))
            .arg(question)
            .output()?;
        line = String::from_utf8(answer.stdout)?;
    } else {
        std::io::stdin().read_line(&mut line)?;
    }
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}
