//! The build's time by step, from the build record.

use super::record::{Record, Step};
use super::shown::{Shown, number};
use crate::base::size::size;
use maud::{Markup, html};

/// Steps that are drawn; the table has all.
const DRAWN: usize = 40;

/// Units of the picture: its width, a row's height.
const WIDTH: f64 = 1000.0;
const ROW: f64 = 22.0;

/// A step and when it began, in seconds after the first one.
struct Placed {
    begin: f64,
    step: Step,
}

/// The section about time.
pub(super) fn section(record: &Record) -> Markup {
    let mut at = 0.0;
    let placed: Vec<Placed> = record
        .steps()
        .into_iter()
        .map(|step| {
            let begin = at;
            at += step.seconds;
            Placed { begin, step }
        })
        .collect();
    let total = at;
    let emulated: f64 = placed.iter().map(|p| p.step.emulated_seconds).sum();
    html! {
        section id="time" aria-labelledby="time-title" {
            h2 id="time-title" { "How long the build took" }
            p {
                (seconds(total)) " in all, by the build record. Steps that were kept from an earlier build took no time. "
                @if emulated > 0.0 { (seconds(emulated)) " of processor time went into emulation." }
                @else { "Nothing was emulated." }
            }
            p.legend { span.key { span.swatch.native {} "native" } span.key { span.swatch.emulated {} "emulated share" } }
            (picture(&placed, total))
            details {
                summary { "All steps as a table" }
                (table(&placed))
            }
        }
    }
}

fn picture(placed: &[Placed], total: f64) -> Markup {
    let mut longest: Vec<&Placed> = placed.iter().filter(|p| p.step.seconds > 0.0).collect();
    longest.sort_by(|a, b| b.step.seconds.total_cmp(&a.step.seconds));
    longest.truncate(DRAWN);
    longest.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    let scale = WIDTH / total.max(f64::EPSILON);
    html! {
        ol.gantt aria-label="Steps in the order of their begin; the table below has the numbers" {
            @for placed in longest {
                @let (x, w) = (placed.begin * scale, (placed.step.seconds * scale).max(2.0));
                @let slow = (emulated_share(&placed.step) * w).min(w);
                li {
                    span.name { (Shown(&placed.step.step)) }
                    span.value { (seconds(placed.step.seconds)) }
                    svg viewBox={"0 0 " (WIDTH) " " (ROW)} preserveAspectRatio="none" aria-hidden="true" {
                        rect.track x="0" y="0" width=(WIDTH) height=(ROW) {}
                        rect.native x=(number(x)) y="0" width=(number(w)) height=(ROW) {}
                        rect.emulated x=(number(x)) y="0" width=(number(slow)) height=(ROW) {}
                    }
                }
            }
        }
    }
}

/// The part of a step's processor time that was under emulation.
fn emulated_share(step: &Step) -> f64 {
    if step.processor_seconds > 0.0 {
        (step.emulated_seconds / step.processor_seconds).min(1.0)
    } else {
        0.0
    }
}

fn table(placed: &[Placed]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Time by step" {
            table.sortable {
                caption { "Time by step, in seconds" }
                thead { tr {
                    th scope="col" { "Step" }
                    th.number scope="col" { "Begin" }
                    th.number scope="col" { "Time" }
                    th.number scope="col" { "Processor" }
                    th.number scope="col" { "Emulated" }
                    th.number scope="col" { "Written" }
                } }
                tbody {
                    @for Placed { begin, step } in placed {
                        tr {
                            th scope="row" { (Shown(&step.step)) }
                            @for value in [*begin, step.seconds, step.processor_seconds, step.emulated_seconds] {
                                td.number data-v=(format!("{value:.3}")) { (format!("{value:.1}")) }
                            }
                            td.number data-v=(step.bytes_written) { (size(step.bytes_written)) }
                        }
                    }
                }
            }
        }
    }
}

/// A time for people.
fn seconds(value: f64) -> String {
    if value >= 90.0 {
        let whole = value.round() as u64;
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    format!("{value:.1} s")
}
