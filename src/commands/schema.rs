//! `schema`: JSON Schemas of what is read and written as TOML and JSON.

use crate::base::{events, schema};
use crate::check::Reports;
use crate::cli::SchemaOf;
use crate::config;
use crate::images::audit::{Audit, Vex};
use crate::images::test::{Spec, Tested};
use crate::images::verify::Verified;
use crate::layers::told::{Plans, Reasons};

pub(super) fn print(what: SchemaOf) -> u8 {
    let schema = match what {
        SchemaOf::Audit => schema::of::<Audit>(),
        SchemaOf::Config => config::describe::schema(),
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
