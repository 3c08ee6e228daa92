//! Who is connected: so many at a time, and of one address few. When there is no room the oldest
//! connection of whoever has most makes it, so that slow clients are in nobody's way but their own.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard};

const ALL: usize = 256;
/// A browser opens up to six.
const OF_ONE: usize = 8;

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    count: usize,
    by_address: HashMap<IpAddr, VecDeque<(u64, TcpStream)>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Inner>);

impl Connections {
    /// Notes a connection, for which another one may be closed; its number is for
    /// [`Connections::remove`].
    pub(super) fn add(&self, stream: &TcpStream) -> std::io::Result<(IpAddr, u64)> {
        let address = stream.peer_addr()?.ip();
        let handle = stream.try_clone()?;
        let mut inner = self.inner();
        let own = inner.by_address.get(&address).map_or(0, VecDeque::len);
        if own >= OF_ONE {
            inner.close_oldest(address);
        } else if inner.count >= ALL {
            let most = inner.by_address.iter().max_by_key(|(_, list)| list.len());
            if let Some(most) = most.map(|(address, _)| *address) {
                inner.close_oldest(most);
            }
        }
        inner.last += 1;
        inner.count += 1;
        let number = inner.last;
        let list = inner.by_address.entry(address).or_default();
        list.push_back((number, handle));
        Ok((address, number))
    }

    /// Forgets a connection that has ended.
    pub(super) fn remove(&self, (address, number): (IpAddr, u64)) {
        let mut inner = self.inner();
        let list = inner.by_address.get(&address);
        let at = list.and_then(|list| list.iter().position(|(other, _)| *other == number));
        if let Some(at) = at {
            inner.take(address, at);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    /// Its thread finds the connection closed and ends.
    fn close_oldest(&mut self, address: IpAddr) {
        if let Some(stream) = self.take(address, 0) {
            // Closed by its client already: that is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn take(&mut self, address: IpAddr, at: usize) -> Option<TcpStream> {
        let list = self.by_address.get_mut(&address)?;
        let (_, stream) = list.remove(at)?;
        if list.is_empty() {
            self.by_address.remove(&address);
        }
        self.count -= 1;
        Some(stream)
    }
}
