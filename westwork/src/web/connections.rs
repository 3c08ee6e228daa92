//! Who is connected: so many at a time, and of one address few. Whoever wants more waits for one of
//! the own connections to end; so clients that are slow, or many, are in nobody's way but their own.
//!
//! A connection that waits costs no thread. Closing the oldest one at once instead let clients that
//! come back as soon as they are closed keep the processor busy with nothing else.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Open connections; each has a thread.
const ALL: usize = 256;
/// Of one address. A browser opens up to six.
const OF_ONE: usize = 8;
/// That wait, of all and of one address. A file each, of some thousand.
const WAITING: usize = 256;
const WAITING_OF_ONE: usize = 64;
/// So long a connection may go on while another one of its address waits.
const TURN: Duration = Duration::from_secs(1);
/// Of one address, so many are ended at a time: the next ones get in soon, at whatever moment.
const ENDED: usize = 2;

/// Address and number of an open connection.
pub(super) type Ticket = (IpAddr, u64);

#[derive(Debug, Default)]
struct Client {
    open: VecDeque<(u64, Instant, TcpStream)>,
    waiting: VecDeque<TcpStream>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    open: usize,
    waiting: usize,
    clients: HashMap<IpAddr, Client>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Inner>);

impl Connections {
    /// Notes a connection: to be answered now, or none if it has to wait, or if it is one of too
    /// many.
    pub(super) fn add(&self, stream: TcpStream) -> Option<(Ticket, TcpStream)> {
        let address = stream.peer_addr().ok()?.ip();
        let mut inner = self.inner();
        let own = inner.clients.get(&address).map_or(0, |it| it.open.len());
        if own < OF_ONE && inner.has_room(own) {
            return inner.open(address, stream);
        }
        inner.wait(address, stream);
        None
    }

    /// Forgets a connection that has ended: the next one of its client, if one waits.
    pub(super) fn next(&self, (address, number): Ticket) -> Option<(Ticket, TcpStream)> {
        let mut inner = self.inner();
        if let Some(client) = inner.clients.get_mut(&address) {
            let at = client.open.iter().position(|(other, ..)| *other == number);
            if let Some(at) = at {
                drop(client.open.remove(at));
                inner.open -= 1;
            }
        }
        if inner.open >= ALL {
            return None;
        }
        // The last to come: its client is the most likely to be still there.
        let next = inner.clients.get_mut(&address)?.waiting.pop_back();
        if let Some(stream) = next {
            inner.waiting -= 1;
            return inner.open(address, stream);
        }
        inner.forget(address);
        None
    }

    /// Ends connections that others wait for. To be called several times a second.
    pub(super) fn end_turns(&self, now: Instant) {
        for client in self.inner().clients.values_mut() {
            let ends = client.waiting.len().min(ENDED);
            for (_, since, stream) in client.open.iter().take(ends) {
                if now.saturating_duration_since(*since) >= TURN {
                    // Its thread finds it closed, and takes the next one. If the client has closed
                    // it already, that is as good.
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    /// Room for a client with this many connections; made, if others have more.
    fn has_room(&mut self, own: usize) -> bool {
        if self.open < ALL {
            return true;
        }
        let most = self.clients.iter().max_by_key(|(_, it)| it.open.len());
        let Some((address, count)) = most.map(|(address, it)| (*address, it.open.len())) else {
            return false;
        };
        if own > 0 && own + 1 >= count {
            return false;
        }
        let Some(client) = self.clients.get_mut(&address) else {
            return false;
        };
        if let Some((.., stream)) = client.open.pop_front() {
            let _ = stream.shutdown(Shutdown::Both);
            self.open -= 1;
        }
        if client.open.is_empty() {
            // There is no other whose end they could wait for.
            self.waiting -= client.waiting.len();
            self.clients.remove(&address);
        }
        true
    }

    fn open(&mut self, address: IpAddr, stream: TcpStream) -> Option<(Ticket, TcpStream)> {
        let handle = stream.try_clone().ok()?;
        self.last += 1;
        self.open += 1;
        let client = self.clients.entry(address).or_default();
        client.open.push_back((self.last, Instant::now(), handle));
        Some(((address, self.last), stream))
    }

    /// Those that have waited longest make room.
    fn wait(&mut self, address: IpAddr, stream: TcpStream) {
        let own = self.clients.get(&address).map_or(0, |it| it.waiting.len());
        let from = if own >= WAITING_OF_ONE {
            Some(address)
        } else if self.waiting >= WAITING {
            let most = self.clients.iter().max_by_key(|(_, it)| it.waiting.len());
            most.map(|(address, _)| *address)
        } else {
            None
        };
        if let Some(client) = from.and_then(|from| self.clients.get_mut(&from)) {
            drop(client.waiting.pop_front());
            self.waiting -= 1;
        }
        self.waiting += 1;
        let client = self.clients.entry(address).or_default();
        client.waiting.push_back(stream);
    }

    fn forget(&mut self, address: IpAddr) {
        let client = self.clients.get(&address);
        if client.is_some_and(|it| it.open.is_empty() && it.waiting.is_empty()) {
            self.clients.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// Both ends of a new connection.
    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn one_address_has_few_connections_and_the_others_take_turns() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connections = Connections::default();
        let mut clients = Vec::new();
        let mut tickets = Vec::new();
        for _ in 0..OF_ONE + 5 {
            let (client, stream) = pair(&listener);
            clients.push(client);
            tickets.extend(connections.add(stream));
        }
        assert_eq!(tickets.len(), OF_ONE, "the others wait");
        let start = Instant::now();
        connections.end_turns(start);
        clients[0].set_nonblocking(true).unwrap();
        assert!(clients[0].read(&mut [0]).is_err(), "within its turn");
        connections.end_turns(start + TURN);
        clients[0].set_nonblocking(false).unwrap();
        assert_eq!(clients[0].read(&mut [0]).unwrap(), 0, "its turn is over");
        let ended = tickets.remove(0).0;
        let (ticket, _) = connections.next(ended).expect("the next one");
        assert_eq!(connections.inner().waiting, 4);
        tickets.push((ticket, clients.pop().unwrap()));
        for _ in 0..4 {
            let ended = tickets.remove(0).0;
            assert!(connections.next(ended).is_some());
        }
        let ended = tickets.remove(0).0;
        assert!(connections.next(ended).is_none(), "nobody waits any more");
    }

    #[test]
    fn nothing_is_kept_of_who_has_left_and_not_more_than_there_is_room_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connections = Connections::default();
        let mut tickets = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..OF_ONE + WAITING_OF_ONE + 5 {
            let (client, stream) = pair(&listener);
            clients.push(client);
            tickets.extend(connections.add(stream));
        }
        assert_eq!(connections.inner().waiting, WAITING_OF_ONE);
        // The first to wait was closed, the last one was not.
        assert_eq!(clients[OF_ONE].read(&mut [0]).unwrap(), 0);
        while let Some((ticket, _)) = tickets.pop() {
            tickets.extend(connections.next(ticket));
        }
        let inner = connections.inner();
        assert_eq!((inner.open, inner.waiting, inner.clients.len()), (0, 0, 0));
    }
}
