//! Sockets and threads around the pages.

use super::app::App;
use super::http::{self, Method, Response};
use super::{guard, pages};
use crate::root::Root;
use crate::services;
use crate::setup::State;
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Connections at a time; more are closed at once.
const CONNECTIONS: usize = 32;
/// The last page stays this long if nobody presses its button.
const LAST_PAGE: Duration = Duration::from_secs(600);

/// What `westwork setup` is told.
#[derive(Debug)]
pub struct Options {
    pub listen: Vec<SocketAddr>,
    /// Names that the box answers to, besides its addresses.
    pub names: Vec<String>,
}

/// Serves the pages until the box is configured and the owner has seen the last one; then starts
/// normal use. Goes on with a set-up that was interrupted.
pub fn serve(root: &Root, options: &Options) -> Result<()> {
    if root.is_configured() {
        println!("this box is set up already");
        return Ok(());
    }
    let app = Arc::new(App::new(
        root.clone(),
        guard::announce(root)?,
        options.names.clone(),
    ));
    let count = Arc::new(AtomicUsize::new(0));
    for address in &options.listen {
        let listener =
            TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        eprintln!(
            "westwork: set-up page at http://{}/",
            listener.local_addr()?
        );
        let (app, count) = (app.clone(), count.clone());
        std::thread::spawn(move || accept(&listener, &app, &count));
    }
    if matches!(State::load(root), State::Running { .. }) {
        start(&app);
    }
    let mut configured_at = None;
    while !app.is_finished() {
        std::thread::sleep(Duration::from_millis(200));
        if configured_at.is_none() && root.is_configured() {
            configured_at = Some(Instant::now());
        }
        if configured_at.is_some_and(|time: Instant| time.elapsed() > LAST_PAGE) {
            break;
        }
    }
    // The goodbye page is on its way.
    std::thread::sleep(Duration::from_secs(2));
    services::start_normal_use(root)
}

fn start(app: &Arc<App>) {
    let app = app.clone();
    std::thread::spawn(move || {
        if let Err(error) = app.work() {
            eprintln!(
                "westwork: set-up in {}: {error:#}",
                app.root().data().display()
            );
        }
    });
}

fn accept(listener: &TcpListener, app: &Arc<App>, count: &Arc<AtomicUsize>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors: give the others time to end.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if count.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            count.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (app, count) = (app.clone(), count.clone());
        std::thread::spawn(move || {
            let _ = handle(stream, &app);
            count.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn handle(mut stream: TcpStream, app: &Arc<App>) -> std::io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    if !is_home(stream.local_addr()?.ip()) {
        return Ok(());
    }
    let request = match http::read(&mut stream) {
        Ok(request) => request,
        Err(status) => {
            return Response::page(
                status,
                pages::refusal("The box did not understand this request."),
            )
            .send(&mut stream, false);
        }
    };
    let (response, work) = app.answer(&request);
    if work {
        start(app);
    }
    response.send(&mut stream, request.method == Method::Head)
}

/// Only the home's own networks are served, never an address of the Internet.
fn is_home(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}
