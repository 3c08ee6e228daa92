//! The system that starts: first boot, users, services, and the firmware's settings.

use super::Facts;
use super::shown::{Shown, or_dash};
use crate::images::inspect::boot::Boot;
use crate::images::inspect::system::{FirstBoot, System, User};
use maud::{Markup, html};

/// Units, and lines of a file, that are shown.
const MOST: usize = 500;

/// The section about the system; nothing if there is none.
pub(super) fn section(facts: &Facts) -> Markup {
    let inspected = &facts.inspected;
    html! {
        section id="system" aria-labelledby="system-title" {
            h2 id="system-title" { "System and first boot" }
            @if let Some(system) = &inspected.system { (of_system(system)) }
            @if let Some(state) = &inspected.first_boot { (first_boot(state)) }
            @if let Some(system) = &inspected.system { (services(system)) }
            @if let Some(boot) = &inspected.boot { (firmware(boot)) }
            @if inspected.system.is_none() && inspected.boot.is_none() {
                p { "No system was found in the image." }
            }
        }
    }
}

fn of_system(system: &System) -> Markup {
    let name = system.os_release.get("PRETTY_NAME").map(String::as_str);
    html! {
        h3 { "System" }
        dl.facts {
            dt { "Name" } dd { (or_dash(name)) }
            dt { "Architecture" } dd { (or_dash(system.architecture.as_deref())) }
            dt { "Host name" } dd { (or_dash(system.hostname.as_deref())) }
            dt { "Kernel modules" } dd { (or_dash(Some(&system.kernels.join(", ")))) }
        }
    }
}

fn first_boot(state: &FirstBoot) -> Markup {
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let keys = state.ssh_host_keys.join(", ");
    html! {
        h3 { "First boot" }
        dl.facts {
            dt { "Machine id" } dd { (state.machine_id) }
            dt { "SSH host keys" }
            dd {
                @if keys.is_empty() { "none, made at first boot" }
                @else { strong { (Shown(&keys)) } ": every copy of the image has the same" }
            }
            dt { "Grows" } dd { (or_dash(Some(&state.growing.join(", ")))) }
            dt { "Asks for a user" } dd { (yes(state.asks_for_user)) }
            dt { "Takes settings of Raspberry Pi Imager" } dd { (yes(state.imager_customisation)) }
        }
        h3 { "Users" }
        div.scroll tabindex="0" role="region" aria-label="Users" {
            table {
                caption { "root, and users from 1000 to 59999" }
                thead { tr { th scope="col" { "Name" } th.number scope="col" { "Id" } th scope="col" { "Password" } th scope="col" { "SSH key" } } }
                tbody { @for user in &state.users { (row(user)) } }
            }
        }
    }
}

fn row(user: &User) -> Markup {
    html! {
        tr {
            th scope="row" { (Shown(&user.name)) }
            td.number { (user.uid) }
            td {
                @match user.password {
                    "empty" => strong { "empty: none is needed" },
                    "locked" => "locked: none will do",
                    other => (other),
                }
            }
            td { @if user.authorized_keys { "yes" } @else { "no" } }
        }
    }
}

fn services(system: &System) -> Markup {
    let units = &system.enabled_units;
    html! {
        h3 { "Enabled units" }
        @if units.is_empty() { p { "None in /etc/systemd/system." } }
        ul.columns {
            @for unit in units.iter().take(MOST) { li { (Shown(unit)) } }
            @if units.len() > MOST { li { "and " (units.len() - MOST) " more" } }
        }
    }
}

fn firmware(boot: &Boot) -> Markup {
    html! {
        h3 { "Boot settings" }
        @for (name, content) in [("cmdline.txt", &boot.cmdline_txt), ("config.txt", &boot.config_txt)] {
            @if let Some(content) = content {
                p { (name) }
                // A line at a time: what ends a line elsewhere is no end here.
                pre tabindex="0" aria-label=(name) {
                    @for line in content.lines().filter(|line| !line.trim().is_empty()).take(MOST) {
                        (Shown(line)) "\n"
                    }
                }
            }
        }
    }
}
