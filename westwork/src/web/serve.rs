//! Sockets and threads around the pages.

use super::app::App;
use super::connections::Connections;
use super::http::{self, Method, Response};
use super::pages;
use crate::announce::announce;
use crate::root::Root;
use crate::services;
use crate::setup::State;
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The last page stays this long if nobody presses its button.
const LAST_PAGE: Duration = Duration::from_secs(600);

/// What `westwork setup` is told.
#[derive(Debug)]
pub struct Options {
    /// Where the pages are served.
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
        announce(root, true)?,
        options.names.clone(),
    ));
    let connections = Arc::new(Connections::default());
    for address in &options.listen {
        let listener =
            TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        eprintln!(
            "westwork: set-up page at http://{}/",
            listener.local_addr()?
        );
        let (app, connections) = (app.clone(), connections.clone());
        std::thread::spawn(move || accept(&listener, &app, &connections));
    }
    if matches!(State::load(root), State::Running { .. }) {
        start(&app);
    }
    let mut configured_at = None;
    while !app.is_finished() {
        std::thread::sleep(Duration::from_millis(200));
        connections.end_turns(Instant::now());
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

fn accept(listener: &TcpListener, app: &Arc<App>, connections: &Arc<Connections>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors: give the others time to end.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let Some((ticket, stream)) = connections.add(stream) else {
            continue;
        };
        let (app, theirs) = (app.clone(), connections.clone());
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let started = thread.spawn(move || {
            let mut next = Some((ticket, stream));
            while let Some((ticket, stream)) = next {
                let _ = handle(stream, &app);
                next = theirs.next(ticket);
            }
        });
        if started.is_err() {
            // No thread for those of this client that wait, either.
            let mut next = connections.next(ticket);
            while let Some((ticket, _)) = next {
                next = connections.next(ticket);
            }
        }
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
    match app.turn(&request) {
        Err(refusal) => return refusal.send(&mut stream, false),
        Ok(wait) => std::thread::sleep(wait),
    }
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
