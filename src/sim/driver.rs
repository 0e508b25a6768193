//! The simulated driver: the contract of [`crate::io`] over a world, nasty inside it.
//!
//! What it does within the contract: sends fall short at any byte or take nothing, connections
//! fail at any send and in the middle of a flush, input comes in pieces, readiness comes late and
//! in parts, turns end early with nothing, accepts come in storms and fail, connects fail or never
//! end, descriptors are reused at once. What it does not forgive: two sends for one socket in a
//! flush, empty ranges, a socket that is not open, a send after `finish` or while connecting.
//!
//! Invariants: as in [`crate::io`]. A bug planted by a canary breaks them, on purpose.

use super::dial::EINPROGRESS;
use super::faults::Canary;
use super::link::{HANGUP, READ, WRITE};
use super::net::Net;
use super::verdict::Law;
use super::world::World;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicBool;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::SeqCst;
use crate::io::Driver;
use crate::io::Interest;
use crate::io::Outgoing;
use crate::io::Ready;
use crate::io::Recv;
use crate::io::Remote;
use crate::io::Short;
use crate::io::Socket;
use crate::io::Token;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

/// One in so many is hit by a planted bug.
const CANARY_ONE_IN: u64 = 4;

/// Wakes one port's worker; the simulated counterpart of the eventfd.
#[derive(Clone, Debug)]
pub struct SimWaker {
    flag: Arc<AtomicBool>,
    loses: bool,
    wakes: Arc<AtomicU64>,
}

impl SimWaker {
    /// Ends the worker's sleep; a planted bug may lose it.
    pub fn wake(&self) {
        if self.loses && self.wakes.fetch_add(1, SeqCst).is_multiple_of(CANARY_ONE_IN) {
            return;
        }
        self.flag.store(true, SeqCst);
    }
}

/// One worker's driver.
#[derive(Debug)]
pub struct SimDriver {
    world: World,
    port: usize,
    shorts: Vec<Short>,
}

impl SimDriver {
    /// A driver with a port of its own, and its waker. All ports must be there before the start.
    #[must_use]
    pub fn new(world: &World) -> (Self, SimWaker, usize) {
        let flag = Arc::new(AtomicBool::new(false));
        let mut scene = world.lock();
        let port = scene.net.add_port(Arc::clone(&flag));
        let loses = scene.net.canary == Some(Canary::LostWake);
        let waker = SimWaker { flag, loses, wakes: Arc::default() };
        drop(scene);
        (Self { world: world.clone(), port, shorts: Vec::new() }, waker, port)
    }

    fn with<R>(
        &self,
        socket: Socket,
        what: &str,
        act: impl FnOnce(&mut Net, usize) -> R,
    ) -> Option<R> {
        let net = &mut self.world.lock().net;
        net.link_of(self.port, socket, what).map(|id| act(net, id))
    }
}

impl Driver for SimDriver {
    fn flush(&mut self, sends: &[Outgoing<'_>]) -> io::Result<&[Short]> {
        self.shorts.clear();
        let net = &mut self.world.lock().net;
        net.charge(sends.len());
        let mut seen = BTreeSet::new();
        for (index, send) in sends.iter().enumerate() {
            if send.bytes.is_empty() {
                net.verdict.fail(Law::Contract, format!("an empty range for {:?}", send.socket));
            }
            if !seen.insert(send.socket.0) {
                let what = format!("two sends for {:?} in one flush", send.socket);
                net.verdict.fail(Law::Contract, what);
            }
            if net.chance.one_in(net.faults.hangup_in_flush) {
                net.break_any(self.port);
            }
            let Some(id) = net.link_of(self.port, send.socket, "a send") else { continue };
            let sent = match net.planted(id, send.bytes) {
                Some(wrong) => net.server_send(id, &wrong),
                None => net.server_send(id, send.bytes),
            };
            if sent == Ok(send.bytes.len()) {
                continue;
            }
            let silent = net.canary == Some(Canary::SilentShort) && sent.is_ok();
            if silent && net.chance.one_in(CANARY_ONE_IN) {
                continue;
            }
            self.shorts.push(Short { index, sent });
        }
        Ok(&self.shorts)
    }

    fn recv(&mut self, socket: Socket, into: &mut [u8]) -> Recv {
        if into.is_empty() {
            self.world.lock().net.verdict.fail(Law::Contract, "a recv into nothing");
        }
        self.with(socket, "a recv", |net, id| net.server_recv(id, into)).unwrap_or(Recv::Empty)
    }

    fn is_idle(&mut self, socket: Socket) -> bool {
        self.with(socket, "a look", |net, id| net.server_is_idle(id)).unwrap_or(false)
    }

    fn watch(&mut self, socket: Socket, token: Token, interest: Interest) {
        let bit = match interest {
            Interest::Hangup => HANGUP,
            Interest::Read => READ,
            Interest::Write => WRITE,
        };
        self.with(socket, "a watch", |net, id| {
            let forgets = match net.canary {
                Some(Canary::LostWatch) => bit == WRITE,
                Some(Canary::LostHangup) => bit == HANGUP,
                _ => false,
            };
            if forgets && net.chance.one_in(CANARY_ONE_IN) {
                return;
            }
            net.arm(id, token, bit);
        });
    }

    fn connect(&mut self, to: &Remote, token: Token) -> Result<Socket, i32> {
        self.world.lock().net.dial(self.port, to, token)
    }

    fn connected(&mut self, socket: Socket) -> Result<(), i32> {
        let stands = self.with(socket, "a look at a connect", |net, id| net.connected(id));
        stands.unwrap_or(Err(EINPROGRESS))
    }

    fn finish(&mut self, socket: Socket) {
        self.with(socket, "a finish", Net::server_finish);
    }

    fn close(&mut self, socket: Socket) {
        self.with(socket, "a close", |net, id| {
            let forgets = net.canary == Some(Canary::LostClose) && net.is_dialled(id);
            if forgets && net.chance.one_in(CANARY_ONE_IN) {
                return;
            }
            net.server_close(id);
        });
    }

    fn reset(&mut self, socket: Socket) {
        self.with(socket, "a reset", Net::server_reset);
    }

    fn accept(&mut self, on: bool) {
        self.world.lock().net.accept(self.port, on);
    }

    fn stop_listening(&mut self) {
        self.world.lock().net.stop_listening(self.port);
    }

    fn turn(&mut self, wait: Option<Duration>, out: &mut Vec<Ready>) -> io::Result<()> {
        let until = wait.map(|wait| self.world.lock().net.now().after(wait));
        match self.world.sleep(self.port, until) {
            Some(mut scene) => {
                scene.net.report(self.port, out);
                Ok(())
            }
            None => Err(io::Error::other("the world is over")),
        }
    }

    fn watch_cost(&self) -> usize {
        0
    }

    fn name(&self) -> &'static str {
        "sim"
    }
}

#[cfg(test)]
mod tests;
