//! Connecting out in the simulation: peers that serve, and the workers' connects to them.
//!
//! Invariants:
//! 1. A connect ends at a time that chance picks, or never; who gives up first is the worker.
//! 2. Bytes of the peer arrive after the end of the connect, however early it sent them.
//! 3. Chance is drawn only when a worker connects: worlds without that are what they were.

use super::faults::Canary;
use super::link::Link;
use super::link::Piece;
use super::net::Due;
use super::net::LinkId;
use super::net::Net;
use crate::io::Remote;
use crate::io::Socket;
use crate::io::Token;
use std::net::SocketAddr;

/// `ECONNREFUSED` on Linux.
pub const ECONNREFUSED: i32 = 111;
/// `EINPROGRESS` on Linux.
pub const EINPROGRESS: i32 = 115;

/// Who serves where, and whom it has not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Services {
    places: Vec<(Remote, usize)>,
    waiting: Vec<(usize, LinkId)>,
}

impl Net {
    /// A peer serves at `at` from now on.
    pub fn serve(&mut self, peer: usize, at: Remote) {
        self.services.places.push((at, peer));
    }

    /// A peer serves nowhere any more: connects are refused.
    pub fn stop_serving(&mut self, peer: usize) {
        self.services.places.retain(|(_, other)| *other != peer);
    }

    /// The next connection that a worker has made to this peer. The peer may send on it at once.
    pub fn answer(&mut self, peer: usize) -> Option<LinkId> {
        let at = self.services.waiting.iter().position(|(other, _)| *other == peer)?;
        Some(self.services.waiting.remove(at).1)
    }

    /// A worker connects; its descriptor, or the errno of a connect that failed at once.
    pub(super) fn dial(&mut self, port: usize, to: &Remote, token: Token) -> Result<Socket, i32> {
        let place = self.services.places.iter().find(|(place, _)| place == to);
        let place = place.map(|(_, peer)| *peer);
        let fails = self.chance.one_in(self.faults.connect);
        if place.is_none() && self.chance.one_in(2) || fails && self.chance.one_in(3) {
            return Err(ECONNREFUSED);
        }
        let id = self.links.len();
        let window = self.draw_window();
        let addr = SocketAddr::from(([10, 1, 0, 1], 80));
        let mut link = Link::new(port, place.unwrap_or(usize::MAX), addr, window);
        (link.connecting, link.dialled) = (true, true);
        self.links.push(link);
        let socket = Socket(self.open(id));
        self.arm(id, token, super::link::WRITE);
        match place.filter(|_| !fails) {
            Some(peer) => {
                self.come(id, Piece::Open);
                self.services.waiting.push((peer, LinkId(id)));
                self.poke(peer, self.now());
            }
            // Refused later, or never answered at all.
            None if place.is_none() || self.chance.one_in(2) => {
                self.come(id, Piece::Reset(ECONNREFUSED));
            }
            None => {}
        }
        Ok(socket)
    }

    /// Whether a worker has made this connection.
    pub(super) fn is_dialled(&self, id: usize) -> bool {
        self.links.get(id).is_some_and(|link| link.dialled)
    }

    /// What a planted bug makes of bytes for a client.
    pub(super) fn planted(&mut self, id: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.canary != Some(Canary::WrongByte) || self.is_dialled(id) || bytes.len() < 200 {
            return None;
        }
        let mut wrong = bytes.to_vec();
        let at = wrong.len() - 100;
        if let Some(byte) = wrong.get_mut(at).filter(|byte| byte.is_ascii_lowercase()) {
            byte.make_ascii_uppercase();
        }
        Some(wrong)
    }

    fn come(&mut self, id: usize, piece: Piece) {
        let at = self.now().after(self.latency());
        if let Some(link) = self.links.get_mut(id) {
            link.coming.push_back((at, piece));
            self.due.insert((at, Due::Link(id)));
        }
    }

    /// How a worker's connect stands.
    pub(super) fn connected(&self, id: usize) -> Result<(), i32> {
        match self.links.get(id) {
            Some(link) if link.failed.is_some() => Err(link.failed.unwrap_or(ECONNREFUSED)),
            Some(link) if link.connecting => Err(EINPROGRESS),
            Some(_) => Ok(()),
            None => Err(ECONNREFUSED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::Arc;
    use crate::io::Ready;
    use crate::io::Recv;
    use crate::sim::faults::Faults;
    use crate::sim::link::EPIPE;
    use std::path::PathBuf;

    fn place() -> Remote {
        Remote::Unix(PathBuf::from("/run/backend"))
    }

    /// A network with one port and peer 0, which serves.
    fn net(seed: u64, faults: Faults) -> Net {
        let mut net = Net::new(seed, faults);
        net.add_port(Arc::default());
        net.peer_due.push(None);
        net.serve(0, place());
        net
    }

    /// Lets everything arrive that is on its way; what the port reports.
    fn settle(net: &mut Net) -> Vec<Ready> {
        let mut out = Vec::new();
        for _ in 0..50 {
            net.clock.pass(std::time::Duration::from_millis(30));
            for id in 0..net.links.len() {
                net.arrive(id);
            }
            net.report(0, &mut out);
        }
        out
    }

    /// Connects; how it ended, or `None` if it did not.
    fn outcome(seed: u64, faults: Faults) -> Option<Result<(), i32>> {
        let mut net = net(seed, faults);
        let socket = match net.dial(0, &place(), Token(5)) {
            Ok(socket) => socket,
            Err(errno) => return Some(Err(errno)),
        };
        let id = net.link_of(0, socket, "it").unwrap();
        assert_eq!(net.connected(id), Err(EINPROGRESS));
        let ready = settle(&mut net);
        if ready.is_empty() {
            assert_eq!(net.connected(id), Err(EINPROGRESS));
            return None;
        }
        let failed = net.connected(id).is_err();
        let want =
            Ready::Watched { token: Token(5), readable: false, writable: true, hangup: failed };
        assert_eq!(ready, [want]);
        Some(net.connected(id))
    }

    #[test]
    fn a_connect_ends_well_where_nothing_goes_wrong() {
        for seed in 0..20 {
            assert_eq!(outcome(seed, Faults::healed()), Some(Ok(())));
        }
    }

    #[test]
    fn a_connect_may_fail_or_never_end() {
        let always = Faults { connect: 1, ..Faults::healed() };
        let all: Vec<_> = (0..40).map(|seed| outcome(seed, always.clone())).collect();
        assert!(all.contains(&None));
        assert!(all.contains(&Some(Err(ECONNREFUSED))));
        assert!(!all.contains(&Some(Ok(()))));
    }

    #[test]
    fn nobody_is_where_nobody_serves() {
        let mut net = net(1, Faults::healed());
        net.stop_serving(0);
        for _ in 0..20 {
            let Ok(socket) = net.dial(0, &place(), Token(1)) else { continue };
            let id = net.link_of(0, socket, "it").unwrap();
            settle(&mut net);
            assert_eq!(net.connected(id), Err(ECONNREFUSED));
            net.server_close(id);
        }
        assert_eq!((net.answer(0), net.open_sockets()), (None, 0));
    }

    #[test]
    fn bytes_come_after_the_end_of_the_connect() {
        let mut net = net(3, Faults::healed());
        let socket = net.dial(0, &place(), Token(1)).unwrap();
        let id = net.link_of(0, socket, "it").unwrap();
        let link = net.answer(0).unwrap();
        assert_eq!(net.answer(0), None);
        net.send(link, b"welcome");
        net.arm(id, Token(1), crate::sim::link::READ);
        assert_eq!(net.server_recv(id, &mut [0; 16]), Recv::Empty);
        settle(&mut net);
        assert_eq!(net.connected(id), Ok(()));
        assert!(matches!(net.server_recv(id, &mut [0; 16]), Recv::Bytes(_)));
        net.server_close(id);
        assert_eq!(net.open_sockets(), 0);
    }

    #[test]
    fn a_send_before_the_end_of_the_connect_is_found() {
        let mut net = net(3, Faults::healed());
        let socket = net.dial(0, &place(), Token(1)).unwrap();
        let id = net.link_of(0, socket, "it").unwrap();
        assert_eq!(net.server_send(id, b"early"), Err(EPIPE));
        assert!(net.verdict.failure().is_some());
    }
}
