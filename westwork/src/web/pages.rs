//! The pages, from templates in `pages/`.

use super::form::{Faults, Typed};
use crate::format::html;
use crate::mustache::{Partials, Template};
use crate::settings::{Certificate, Settings};
use crate::setup::{HomeWifi, Step};
use serde_json::{Value, json};

fn page(template: &str, values: &Value) -> String {
    let partials = Partials::from([
        ("top".to_owned(), include_str!("pages/top.html").to_owned()),
        (
            "bottom".to_owned(),
            include_str!("pages/bottom.html").to_owned(),
        ),
        (
            "field".to_owned(),
            include_str!("pages/field.html").to_owned(),
        ),
        (
            "style".to_owned(),
            include_str!("pages/style.css").to_owned(),
        ),
    ]);
    let made =
        Template::parse(template).and_then(|parsed| parsed.render_lenient(values, &partials, html));
    // The templates are part of the program; the tests render each of them.
    made.unwrap_or_else(|fault| format!("This page is broken: {fault}"))
}

pub(super) fn code(message: Option<&str>) -> String {
    page(
        include_str!("pages/code.html"),
        &json!({"title": "Welcome", "message": message}),
    )
}

pub(super) fn refusal(message: &str) -> String {
    page(
        include_str!("pages/refusal.html"),
        &json!({"title": "That did not work", "message": message}),
    )
}

pub(super) fn form(csrf: &str, typed: &Typed, faults: &Faults) -> String {
    let value = |name: &str| typed.fields.get(name).cloned().unwrap_or_default();
    let text = |name: &str, label: &str, help: &str, more: Value| {
        let mut field = json!({
            "id": name, "label": label, "help": help, "value": value(name), "fault": faults.get(name), "type": "text",
            "required": true, "described": !help.is_empty() || faults.contains_key(name),
        });
        if let (Some(field), Value::Object(more)) = (field.as_object_mut(), more) {
            field.extend(more);
        }
        field
    };
    let chosen = value("country").to_uppercase();
    let countries: Vec<Value> = countries()
        .map(|(code, name)| json!({"code": code, "name": name, "chosen": code == chosen}))
        .collect();
    let lets_encrypt = value("certificate") == "lets-encrypt";
    let values = json!({
        "title": "Set up your Westwork",
        "csrf": csrf,
        "faults": faults.len(),
        "any_faults": !faults.is_empty(),
        "address": [text("domain", "Domain name", "The name you have registered, for example family.example.org; for home use only, something like box.local.",
            json!({"autocomplete": "off", "inputmode": "url"}))],
        "owner": [
            text("name", "Your name", "As others see it in your mail.", json!({"autocomplete": "name"})),
            text("user", "User name", "The part before the @ of your address.", json!({"autocomplete": "username"})),
            text("password", "Password", "At least 10 characters; four words are a good one.",
                json!({"type": "password", "autocomplete": "new-password", "value": ""})),
            text("password2", "Password once more", "", json!({"type": "password", "autocomplete": "new-password", "value": ""})),
        ],
        "countries": countries,
        "country_fault": faults.get("country"),
        "wifi": [
            text("wifi", "Name of your home Wi-Fi", "Leave it empty if the box is connected by cable.", json!({"required": false, "autocomplete": "off"})),
            text("wifi_password", "Its password", "", json!({"required": false, "type": "password", "autocomplete": "off", "value": ""})),
        ],
        "certificate_fault": faults.get("certificate"),
        "lets_encrypt": lets_encrypt,
        "self_signed": !lets_encrypt,
        "email": [text("email", "E-mail address for Let’s Encrypt", "Only needed for Let’s Encrypt, which writes there when something is wrong.",
            json!({"required": false, "type": "email", "autocomplete": "email"}))],
        "staging": value("staging") == "on",
    });
    page(include_str!("pages/form.html"), &values)
}

/// The countries of ISO 3166-1 by name.
fn countries() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut all: Vec<_> = include_str!("../../dist/iso3166.tab")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .collect();
    all.sort_by_key(|(_, name)| *name);
    all.into_iter()
}

pub(super) fn review(csrf: &str, settings: &Settings, home_wifi: Option<&HomeWifi>) -> String {
    let certificate = match &settings.certificate {
        Certificate::SelfSigned => "Self-signed to begin with; browsers will warn once".to_owned(),
        Certificate::LetsEncrypt {
            email,
            staging: false,
        } => format!("Let’s Encrypt, with {email}; self-signed until it is there"),
        Certificate::LetsEncrypt {
            email,
            staging: true,
        } => format!("Let’s Encrypt’s test service, with {email}"),
    };
    let country = countries()
        .find(|(code, _)| *code == settings.wifi.country)
        .map_or(settings.wifi.country.as_str(), |(_, name)| name);
    let steps: Vec<&str> = Step::ALL.iter().map(|step| step.title()).collect();
    let rows = [
        ("Domain", settings.domain.display()),
        ("Owner", settings.owner.name.clone()),
        (
            "Mail address",
            format!("{}@{}", settings.owner.user, settings.domain.display()),
        ),
        (
            "Password",
            "as you typed it; it is stored as a hash only".to_owned(),
        ),
        ("Wi-Fi country", country.to_owned()),
        (
            "Home Wi-Fi",
            home_wifi.map_or("none; the box is connected by cable".to_owned(), |wifi| {
                wifi.ssid.clone()
            }),
        ),
        ("Certificate", certificate),
    ];
    let rows: Vec<Value> = rows
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    page(
        include_str!("pages/review.html"),
        &json!({"title": "Is this right?", "csrf": csrf, "rows": rows, "steps": steps}),
    )
}

/// The steps with their states; refreshes itself while something is going on.
pub(super) fn progress(csrf: &str, done: usize, failure: Option<&str>) -> String {
    let steps: Vec<Value> = Step::ALL
        .iter()
        .enumerate()
        .map(|(number, step)| {
            let (state, word) = match number {
                _ if number < done => ("done", "done"),
                _ if number > done => ("waiting", "not yet"),
                _ if failure.is_some() => ("failed", "failed"),
                _ => ("running", "now"),
            };
            json!({"title": step.title(), "state": state, "word": word})
        })
        .collect();
    let title = if failure.is_some() {
        "That did not work"
    } else {
        "Setting up"
    };
    let values = json!({
        "title": title, "csrf": csrf, "steps": steps, "failure": failure, "refresh": failure.is_none(),
        "done": done, "all": Step::ALL.len(),
    });
    page(include_str!("pages/progress.html"), &values)
}

pub(super) fn done(csrf: &str, settings: &Settings) -> String {
    let values = json!({
        "title": "Your Westwork is ready",
        "csrf": csrf,
        "domain": settings.domain.display(),
        "mail": format!("{}@{}", settings.owner.user, settings.domain.display()),
        "user": settings.owner.user,
        "chat": settings.chat,
        "chat_id": format!("@{}:{}", settings.owner.user, settings.domain.as_str()),
        "lets_encrypt": matches!(settings.certificate, Certificate::LetsEncrypt { .. }),
    });
    page(include_str!("pages/done.html"), &values)
}

pub(super) fn goodbye(settings: &Settings) -> String {
    page(
        include_str!("pages/goodbye.html"),
        &json!({"title": "See you there", "domain": settings.domain.display()}),
    )
}
