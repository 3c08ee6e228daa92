//! The program on the device: sets it up from a browser, renders its configuration, looks after
//! its users and its backups.
//!
//! Everything it knows is below /data/conf/westwork: `settings.toml` (what the owner has chosen),
//! `secrets/` (made here, one file each), `state.toml` (how far set-up is) and `configured` (set-up
//! is over; units look for this file). Other programs are run by their absolute paths; with
//! `--root DIR` all paths and all programs are taken from there, and that is what the tests do.
//!
//! | module | what |
//! |---|---|
//! | [`web`] | the set-up pages |
//! | [`announce`] | the set-up code: screen, card, Wi-Fi |
//! | [`setup`] [`reset`] | the steps after the owner's yes; factory reset |
//! | [`render`] [`checks`] [`mustache`] [`format`] | templates to configuration, all or nothing |
//! | [`settings`] [`domain`] [`secrets`] | judged values |
//! | [`directory`] [`people`] `chat` | people: in slapd, coming and going, in Synapse |
//! | [`certificate`] | self-signed, and Let's Encrypt |
//! | [`backup`] | /data in a file and back |
//! | [`status`] [`services`] | what runs |
//! | [`root`] | paths, files, programs |

pub mod announce;
pub mod backup;
pub mod certificate;
mod chat;
pub mod checks;
pub mod directory;
pub mod domain;
pub mod format;
mod ldif;
pub mod mustache;
pub mod people;
pub mod render;
pub mod reset;
pub mod root;
pub mod secrets;
pub mod services;
pub mod settings;
pub mod setup;
pub mod status;
pub mod web;
