//! The command line of the program on the device.

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use westwork::checks::Verdict;
use westwork::directory::Users;
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
        #[arg(long)]
        json: bool,
    },
    /// Look after the people who have mail and chat
    #[command(subcommand)]
    User(User),
    /// Write all of /data to a file
    Backup { file: PathBuf },
    /// Replace all of /data by a backup
    Restore { file: PathBuf },
    /// Finish a restore that was interrupted at its last step; done at boot
    FinishRestore,
    /// Ask Let's Encrypt for the certificate, or renew it
    Certificate,
    /// Forget owner, users, mail and chat, and go back to set-up
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
        user: String,
        /// As others see it
        #[arg(long)]
        name: String,
    },
    /// Show everybody
    List,
    /// Change a password; it is asked for, or the first line of standard input
    Passwd { user: String },
    /// Remove somebody; mail stays
    Remove {
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
        Command::Backup { file } => westwork::backup::backup(root, &file),
        Command::Restore { file } => westwork::backup::restore(root, &file),
        Command::FinishRestore => westwork::backup::finish_restore(root),
        Command::Certificate => {
            println!("{}", westwork::certificate::update(root)?);
            Ok(())
        }
        Command::FactoryReset { .. } => westwork::setup::factory_reset(root),
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
        User::Add { user, name } => {
            let user = users.add(&user, &name, &ask_password(root)?)?;
            println!("{} can log in; the address is {}", user.name, user.mail);
        }
        User::List => users
            .list()?
            .iter()
            .for_each(|user| println!("{:<20} {:<30} {}", user.user, user.mail, user.name)),
        User::Passwd { user } => users.set_password(&user, &ask_password(root)?)?,
        User::Remove { user, purge } => users.remove(&user, purge)?,
    }
    Ok(())
}

/// Without an echo on a terminal.
fn ask_password(root: &Root) -> anyhow::Result<Secret> {
    let mut line = String::new();
    if std::io::stdin().is_terminal() {
        let answer = std::process::Command::new(root.path("/usr/bin/systemd-ask-password"))
            .arg("Password:")
            .output()?;
        line = String::from_utf8(answer.stdout)?;
    } else {
        std::io::stdin().read_line(&mut line)?;
    }
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}
