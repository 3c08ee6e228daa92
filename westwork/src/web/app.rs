//! Which page answers which request.

use super::form::{self, Faults, Typed};
use super::guard::Guard;
use super::http::{Method, Request, Response};
use super::pages;
use crate::root::Root;
use crate::secrets::{Secret, random_text};
use crate::settings::Settings;
use crate::setup::{self, Choices, State};
use anyhow::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Who has typed the code. A new one ends the one before.
#[derive(Debug)]
struct Session {
    token: Secret,
    csrf: Secret,
}

#[derive(Debug)]
struct Inner {
    guard: Guard,
    session: Option<Session>,
    typed: Typed,
    /// Judged answers that wait for the owner's yes.
    draft: Option<Choices>,
}

#[derive(Debug)]
pub(super) struct App {
    root: Root,
    /// Names besides its address that the box answers to.
    names: Vec<String>,
    inner: Mutex<Inner>,
    working: AtomicBool,
    finished: AtomicBool,
}

impl App {
    pub(super) fn new(root: Root, code: Secret, names: Vec<String>) -> Self {
        let inner = Inner {
            guard: Guard::new(code),
            session: None,
            typed: Typed::default(),
            draft: None,
        };
        Self {
            root,
            names,
            inner: Mutex::new(inner),
            working: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }

    /// Has the owner seen the last page?
    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Does the steps that are left, unless somebody is at it.
    pub(super) fn work(&self) -> Result<()> {
        if self.working.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let result = setup::run(&self.root);
        self.working.store(false, Ordering::SeqCst);
        result
    }

    /// The answer, and whether [`App::work`] is to be called.
    pub(super) fn answer(&self, request: &Request) -> (Response, bool) {
        if !self.is_for_us(request) {
            // A phone looking for the Internet: this is what opens the page on it.
            let home = Response::redirect(302, format!("{}/", request.origin()));
            return (
                if request.method == Method::Post {
                    Response::page(403, pages::refusal("This is not the box’s address."))
                } else {
                    home
                },
                false,
            );
        }
        let mut inner = self.inner();
        match (request.method, request.path.as_str()) {
            (Method::Get | Method::Head, path) => (self.get(&inner, request, path), false),
            (Method::Post, "/code") => (self.code(&mut inner, request), false),
            (Method::Post, path) => self.post(&mut inner, request, path),
        }
    }

    /// How long a code from this client has to wait for being judged; none for other requests.
    /// The answer instead, if there are too many waiting.
    pub(super) fn turn(&self, request: &Request) -> Result<Duration, Response> {
        if (request.method, request.path.as_str()) != (Method::Post, "/code") {
            return Ok(Duration::ZERO);
        }
        let turn = self.inner().guard.turn(request.client, Instant::now());
        turn.ok_or_else(|| {
            let message =
                "Several codes at once came from your device. Wait a moment and try again.";
            Response::page(429, pages::code(Some(message))).with("Retry-After", "2")
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn is_for_us(&self, request: &Request) -> bool {
        let Some(host) = request.header("host") else {
            return false;
        };
        let origin = format!("http://{host}");
        let name = host.split(':').next().unwrap_or_default();
        let asked = origin == request.origin()
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        // A browser says where a form comes from; another site's is not ours.
        asked
            && request
                .header("origin")
                .is_none_or(|from| request.method != Method::Post || from == origin)
    }

    fn get(&self, inner: &Inner, request: &Request, path: &str) -> Response {
        let Some(session) = inner
            .session
            .as_ref()
            .filter(|session| session.is_of(request))
        else {
            return match path {
                "/" => Response::page(200, pages::code(None)),
                _ => Response::redirect(302, "/"),
            };
        };
        let csrf = session.csrf.reveal();
        let place = match (State::load(&self.root), &inner.draft) {
            (State::Configured, _) => "/done",
            (State::Running { .. } | State::Failed { .. }, _) => "/progress",
            (State::Fresh, Some(_)) if path == "/review" => "/review",
            (State::Fresh, _) => "/form",
        };
        // A failed set-up may be begun again with other answers.
        let place = if matches!(State::load(&self.root), State::Failed { .. })
            && ["/form", "/review"].contains(&path)
        {
            path
        } else {
            place
        };
        if path != place {
            return Response::redirect(303, place);
        }
        match (place, &inner.draft) {
            ("/form", _) => Response::page(200, pages::form(csrf, &inner.typed, &Faults::new())),
            ("/review", Some(draft)) => Response::page(
                200,
                pages::review(csrf, &draft.settings, draft.home_wifi.as_ref()),
            ),
            ("/done", _) => self.with_settings(|settings| pages::done(csrf, settings)),
            ("/progress", _) => match State::load(&self.root) {
                State::Running { done } => Response::page(200, pages::progress(csrf, done, None)),
                State::Failed { done, message } => {
                    Response::page(200, pages::progress(csrf, done, Some(&message)))
                }
                State::Fresh | State::Configured => Response::redirect(303, "/"),
            },
            _ => Response::redirect(303, "/form"),
        }
    }

    fn with_settings(&self, page: impl Fn(&Settings) -> String) -> Response {
        match Settings::load(&self.root) {
            Ok(settings) => Response::page(200, page(&settings)),
            Err(error) => Response::page(500, pages::refusal(&format!("{error:#}"))),
        }
    }

    fn code(&self, inner: &mut Inner, request: &Request) -> Response {
        let typed = request
            .form()
            .into_iter()
            .find(|(name, _)| name == "code")
            .map(|(_, code)| code)
            .unwrap_or_default();
        if !inner.guard.is_right(&typed) {
            return Response::page(403, pages::code(Some("That is not the code.")));
        }
        inner.guard.forget(request.client);
        let (Ok(token), Ok(csrf)) = (random_text(32), random_text(32)) else {
            return Response::page(
                500,
                pages::refusal("There is no randomness yet. Wait a little and try again."),
            );
        };
        let cookie = format!("session={token}; Path=/; HttpOnly; SameSite=Strict");
        inner.session = Some(Session {
            token: Secret::new(token),
            csrf: Secret::new(csrf),
        });
        Response::redirect(303, "/").with("Set-Cookie", cookie)
    }

    fn post(&self, inner: &mut Inner, request: &Request, path: &str) -> (Response, bool) {
        let form = request.form();
        let session = inner
            .session
            .as_ref()
            .filter(|session| session.is_of(request) && session.is_meant_by(&form));
        let Some(session) = session else {
            return (
                Response::page(
                    403,
                    pages::refusal(
                        "This page is out of date. Go back to the beginning and type the code again.",
                    ),
                ),
                false,
            );
        };
        let busy = self.working.load(Ordering::SeqCst) || self.root.is_configured();
        let refused =
            |error: anyhow::Error| Response::page(500, pages::refusal(&format!("{error:#}")));
        match path {
            "/form" if !busy => {
                let (typed, judged) =
                    form::judge(&form, self.root.path("/data/conf/matrix-synapse").is_dir());
                let response = match judged {
                    Err(faults) => {
                        Response::page(422, pages::form(session.csrf.reveal(), &typed, &faults))
                    }
                    Ok(answers) => {
                        match Choices::new(answers.settings, &answers.password, answers.home_wifi) {
                            Ok(choices) => {
                                inner.draft = Some(choices);
                                Response::redirect(303, "/review")
                            }
                            Err(error) => refused(error),
                        }
                    }
                };
                inner.typed = typed;
                (response, false)
            }
            "/begin" if !busy => match inner.draft.take() {
                None => (Response::redirect(303, "/form"), false),
                Some(choices) => match setup::begin(&self.root, &choices) {
                    Ok(()) => (Response::redirect(303, "/progress"), true),
                    Err(error) => (refused(error), false),
                },
            },
            "/again" if !busy => match setup::retry(&self.root) {
                Ok(()) => (Response::redirect(303, "/progress"), true),
                Err(error) => (refused(error), false),
            },
            "/finish" if self.root.is_configured() => {
                self.finished.store(true, Ordering::SeqCst);
                (self.with_settings(pages::goodbye), false)
            }
            _ => (Response::redirect(303, "/"), false),
        }
    }
}

impl Session {
    fn is_of(&self, request: &Request) -> bool {
        let cookie = request.cookie("session").unwrap_or_default();
        cookie
            .as_bytes()
            .ct_eq(self.token.reveal().as_bytes())
            .into()
    }

    fn is_meant_by(&self, form: &[(String, String)]) -> bool {
        let token = form
            .iter()
            .find(|(name, _)| name == "csrf")
            .map(|(_, value)| value.as_str())
            .unwrap_or_default();
        token.as_bytes().ct_eq(self.csrf.reveal().as_bytes()).into()
    }
}
