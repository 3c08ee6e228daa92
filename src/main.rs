//! `westwork-gen`: parse arguments, call the library, print the error, exit.

use clap::Parser;
use std::process::ExitCode;
use westwork_gen::base::print::{self, err as tell};
use westwork_gen::base::problem::Problems;
use westwork_gen::cli::Cli;
use westwork_gen::pipeline::StepFailure;

fn main() -> ExitCode {
    match westwork_gen::run(Cli::parse()) {
        Ok(code) => {
            print::flush();
            ExitCode::from(code)
        }
        Err(error) if error.is::<Problems>() => {
            tell(format_args!("{error}\n"));
            ExitCode::from(2)
        }
        Err(error) if error.is::<StepFailure>() => {
            tell(format_args!("{error}\n"));
            ExitCode::from(1)
        }
        Err(error) => {
            tell(format_args!("westwork-gen: {error:#}\n"));
            ExitCode::from(1)
        }
    }
}
