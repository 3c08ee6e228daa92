//! `schema`: JSON Schemas of what is read and written as TOML and JSON.

use crate::base::{events, schema};
use crate::check::Reports;
use crate::cli::ConfigArgs;
use crate::cli::SchemaOf;
use crate::config::variables::{Contract, Variable};
use crate::config::{self, Config};
use crate::images::audit::{Audit, Vex};
use crate::images::test::{Spec, Tested};
use crate::images::verify::Verified;
use crate::layers::told::{Plans, Reasons};

pub(super) fn print(what: SchemaOf) -> u8 {
    let schema = match what {
        SchemaOf::Config => config::describe::schema(&of_tree()),
        SchemaOf::Variables => schema::of_input::<Contract>(),
        SchemaOf::Audit => schema::of::<Audit>(),
        SchemaOf::Events => events::schema(),
        SchemaOf::Plan => schema::of::<Plans>(),
        SchemaOf::Check => schema::of::<Reports>(),
        SchemaOf::Test => schema::of::<Vec<Tested>>(),
        SchemaOf::Tests => schema::of_input::<Spec>(),
        SchemaOf::Verify => schema::of::<Verified>(),
        SchemaOf::Vex => schema::of_input::<Vex>(),
        SchemaOf::Why => schema::of::<Reasons>(),
    };
    println!("{schema:#}");
    0
}

/// The variables of the stages, where the command is given in a tree.
fn of_tree() -> Vec<Variable> {
    let args = ConfigArgs {
        files: Vec::new(),
        set: Vec::new(),
    };
    let loaded = super::request(&args).map(|request| Config::load(&request));
    // What is wrong with the settings is for `check` to say.
    let config = loaded.ok().and_then(|loaded| loaded.config);
    config.map_or_else(Vec::new, |config| config.variables)
}
