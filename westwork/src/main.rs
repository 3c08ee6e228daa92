//! The command line of the program on the device.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use westwork::checks::Verdict;
use westwork::root::Root;

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
    /// Forget owner, users, mail and chat, and go back to set-up
    FactoryReset {
        /// Yes, really
        #[arg(long, required = true)]
        yes: bool,
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
