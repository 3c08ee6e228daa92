//! `check`: every problem of config, tree and machine.

use super::{request, variants};
use crate::check;
use crate::cli::ConfigArgs;
use anyhow::Result;

pub(super) fn check_only(args: &ConfigArgs) -> Result<u8> {
    for variant in variants::of(&request(args)?) {
        let (config, plan) = check::everything(&variant)?;
        for note in check::notes(&config, &plan) {
            println!("note: {note}");
        }
        let steps = plan.steps().count();
        println!(
            "no problem was found: {} for {} can be built ({steps} steps)",
            config.img_name,
            config.arch.debian()
        );
    }
    Ok(0)
}
