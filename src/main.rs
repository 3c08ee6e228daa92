//! `westwork-gen`: parse arguments, call the library, print the error, exit.

use clap::Parser;
use std::process::ExitCode;
use westwork_gen::base::problem::Problems;
use westwork_gen::cli::Cli;
use westwork_gen::pipeline::StepFailure;

fn main() -> ExitCode {
    match westwork_gen::run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is::<Problems>() => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) if error.is::<StepFailure>() => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("westwork-gen: {error:#}");
            ExitCode::from(1)
        }
    }
}
