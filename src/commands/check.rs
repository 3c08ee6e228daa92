//! `check`: every problem of config, tree and machine.

use super::{print_json, request, variants};
use crate::base::problem::Problems;
use crate::check::{BuildReport, Reports};
use crate::cli::ConfigArgs;
use anyhow::Result;

pub(super) fn check_only(args: &ConfigArgs, json: bool) -> Result<u8> {
    if json {
        return as_json(args);
    }
    for variant in variants::of(&request(args)?) {
        let report = BuildReport::of(&variant);
        Problems(report.problems).into_result()?;
        for note in &report.notes {
            println!("note: {note}");
        }
        for variable in &report.variables {
            println!("{variable}");
        }
        let name = report.subject.image.unwrap_or_default();
        if let Some(facts) = report.facts {
            println!("{name}: {facts}");
            println!(
                "no problem was found: {name} for {} can be built ({} steps)",
                facts.arch, facts.steps
            );
        }
    }
    Ok(0)
}

/// Prints what is found of every image, whether or not it can be built.
fn as_json(args: &ConfigArgs) -> Result<u8> {
    let builds = match request(args) {
        Ok(request) => variants::of(&request).iter().map(BuildReport::of).collect(),
        Err(error) => {
            let Problems(problems) = error.downcast::<Problems>()?;
            vec![BuildReport::without_settings(problems)]
        }
    };
    let reports = Reports::of(builds);
    print_json(&reports)?;
    Ok(if reports.has_problems() { 2 } else { 0 })
}
