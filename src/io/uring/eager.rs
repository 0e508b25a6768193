//! Receiving before anybody asks, for sockets whose peers send little and often: one entry receives
//! again and again, so that a piece costs neither a poll nor a call.
//!
//! | flags of the socket | input comes by | watching `Read` |
//! |---|---|---|
//! | – | `recv(2)` | arms a poll |
//! | eager | `recv(2)` | starts a receive: the socket is receiving |
//! | receiving | the ring | asks: the next piece, or one that is held already, reports |
//! | receiving, stopping | the ring | asks: if nothing more comes, a poll follows its end |
//!
//! Invariants:
//! 1. What `watch` and `recv` promise holds, whatever the kernel has received meanwhile.
//! 2. A socket holds few buffers that nobody asked for: past that its receive is stopped, and its
//!    peer is slowed by TCP as that of any other.
//! 3. A receive that had more than 32 pieces at once is stopped: Linux 6.18 looks no further than
//!    the last byte then, and a reset behind it would never be told.

use crate::io::Driver;
use crate::io::Interest;
use crate::io::Ready;
use crate::io::Recv;
use crate::io::Socket;
use crate::io::sys;
use crate::io::table;
use crate::io::table::Table;
use crate::io::uring::Kind;
use crate::io::uring::Uring;
use crate::io::uring::buffers::GROUP;
use crate::io::uring::held::End;
use crate::io::uring::held::Held;
use crate::io::uring::ring::Answer;
use crate::io::uring::ring::Ring;
use io_uring::opcode;
use io_uring::types;
use std::time::Duration;

/// Buffers that one socket may hold unread before its receive is stopped (invariants 2, 3): one
/// that sends more is read better by calls. The kernel fills 33 for a socket at a time, and does so
/// up to three times before it obeys.
pub(super) const HELD_MAX: u16 = 16;

/// What the ring receives by itself.
#[derive(Debug, Default)]
pub(super) struct Eager {
    /// `None`: not wished yet.
    held: Option<Held>,
    /// This kernel has no such buffers.
    unavailable: bool,
    /// Sockets that asked when there was something to read already: reported by the next turn.
    unread: Vec<(i32, u32)>,
}

impl Eager {
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(super) fn forget(&mut self, fd: i32) {
        if let Some(held) = &mut self.held {
            held.forget(fd);
        }
    }

    /// The ring is going.
    pub(super) fn close(&mut self, ring: &Ring) {
        if let Some(held) = &self.held {
            ring.close_buffers(held.buffers());
        }
    }

    #[cfg(test)]
    pub(super) fn count(&mut self, fd: i32) -> u16 {
        self.held.as_mut().map_or(0, |held| held.count(fd))
    }

    fn has(&mut self, fd: i32) -> bool {
        self.held.as_mut().is_some_and(|held| held.has(fd))
    }

    /// Gives the buffer of an answer back.
    fn give(&mut self, answer: Answer) {
        if let Some((held, id)) = self.held.as_mut().zip(answer.buffer()) {
            held.give(id);
        }
    }

    fn open(&mut self, ring: &Ring) {
        if self.held.is_none() && !self.unavailable {
            self.held = ring.buffers().ok().map(Held::new);
            self.unavailable = self.held.is_none();
        }
    }
}

impl Uring {
    /// Whether the ring is to receive for a socket by itself.
    pub(super) fn set_eager(&mut self, socket: Socket, on: bool) {
        if !on {
            return stop(&mut self.ring, &mut self.table, socket.0);
        }
        let Some(entry) = self.table.entry(socket.0).filter(|e| !e.has(table::EAGER)) else {
            return;
        };
        // Kernels are known that lose the end of a Unix socket in such a receive.
        if sys::is_unix(socket.0) {
            return;
        }
        self.eager.open(&self.ring);
        if !self.eager.unavailable {
            entry.raise(table::EAGER);
        }
    }

    /// Arms `Read` where it is not a poll; false: it is to be one.
    pub(super) fn ask(&mut self, socket: Socket) -> bool {
        let fd = socket.0;
        let Some(entry) = self.table.entry(fd) else { return true };
        if entry.has(table::ASKED) {
            return true;
        }
        if self.eager.has(fd) {
            entry.raise(table::ASKED);
            self.eager.unread.push((fd, entry.generation()));
            return true;
        }
        if entry.has(table::RECEIVING) {
            entry.raise(table::ASKED);
            return true;
        }
        if !entry.has(table::EAGER) {
            return false;
        }
        entry.raise(table::ASKED | table::RECEIVING);
        let data = Kind::Receive.data(entry.generation(), fd);
        let receive = opcode::RecvMulti::new(types::Fd(fd), GROUP).build();
        self.ring.push(&receive.user_data(data));
        true
    }

    /// What is held of a socket; `None`: it is to be read by a call.
    pub(super) fn take(&mut self, socket: Socket, into: &mut [u8]) -> Option<Recv> {
        let held = self.eager.held.as_mut()?;
        if into.is_empty() {
            return Some(Recv::Empty);
        }
        if let Some(recv) = held.read(socket.0, into) {
            return Some(recv);
        }
        let entry = self.table.entry(socket.0)?;
        entry.has(table::RECEIVING).then_some(Recv::Empty)
    }

    /// Whether the ring has received something that was not read, told or not.
    pub(super) fn has_input(&mut self, socket: Socket) -> bool {
        if self.eager.has(socket.0) {
            return true;
        }
        let receiving = self.table.entry(socket.0).is_some_and(|e| e.has(table::RECEIVING));
        receiving
            && self.ring.reaped().any(|answer| {
                matches!(Kind::of(answer.data), Some(Kind::Receive))
                    && Kind::fd(answer.data) == socket.0
                    && !matches!(answer.result, STOPPED | NO_BUFFERS)
            })
    }

    /// The receive of a socket has brought something, or has ended.
    pub(super) fn received(&mut self, answer: Answer, out: &mut Vec<Ready>) {
        let (fd, generation) = (Kind::fd(answer.data), Kind::generation(answer.data));
        let Some(entry) = self.table.find(fd, generation) else { return self.eager.give(answer) };
        if !answer.more() {
            entry.lower(table::RECEIVING | table::STOPPING);
        }
        if entry.has(table::CLOSING) {
            self.eager.give(answer);
            self.closed(fd, generation);
            return;
        }
        let Some(held) = &mut self.eager.held else { return };
        let mut count = 0;
        match (answer.result, answer.buffer()) {
            (len @ 1.., Some(id)) => count = held.push(fd, id, u16::try_from(len).unwrap_or(0)),
            (0, id) => {
                id.into_iter().for_each(|id| held.give(id));
                held.end(fd, End::Orderly);
            }
            (STOPPED, _) => {}
            // None is left: it goes on as any other socket, because it would be told so again at
            // once, whether or not something has come.
            (NO_BUFFERS, _) => entry.lower(table::EAGER),
            (result, _) => held.end(fd, End::Failed(-result)),
        }
        let has_news = answer.result != STOPPED;
        if count > HELD_MAX {
            stop(&mut self.ring, &mut self.table, fd);
        }
        let Some(entry) = self.table.find(fd, generation) else { return };
        if !entry.has(table::ASKED) {
            return;
        }
        entry.lower(table::ASKED);
        if has_news {
            let hangup = answer.result == 0 || (answer.result < 0 && answer.result != NO_BUFFERS);
            out.push(Ready::Watched {
                token: entry.token(),
                readable: true,
                writable: false,
                hangup,
            });
        } else {
            let token = entry.token();
            self.watch(Socket(fd), token, Interest::Read);
        }
    }

    /// A stop was answered. One that found nothing while the receive goes on is to be tried again.
    pub(super) fn stopped(&mut self, answer: Answer) {
        let (fd, generation) = (Kind::fd(answer.data), Kind::generation(answer.data));
        if answer.result < 0
            && let Some(entry) = self.table.find(fd, generation)
        {
            // Where the receive has ended its own answer has lowered it before.
            entry.lower(table::STOPPING);
        }
    }

    /// Reports sockets that asked for what was there already.
    pub(super) fn report_unread(&mut self, out: &mut Vec<Ready>) {
        for (fd, generation) in self.eager.unread.drain(..) {
            let Some(entry) = self.table.find(fd, generation) else { continue };
            if !entry.has(table::ASKED) || entry.has(table::CLOSING) {
                continue;
            }
            entry.lower(table::ASKED);
            let token = entry.token();
            out.push(Ready::Watched { token, readable: true, writable: false, hangup: false });
        }
    }

    /// How long a turn may sleep: not at all if there is something to report.
    pub(super) fn patience(&self, wait: Option<Duration>) -> Option<Duration> {
        if self.eager.has_unread() { Some(Duration::ZERO) } else { wait }
    }
}

/// Ends a socket's receive, if there is one, and starts none.
fn stop(ring: &mut Ring, table: &mut Table, fd: i32) {
    let Some(entry) = table.entry(fd) else { return };
    entry.lower(table::EAGER);
    if entry.has(table::RECEIVING) && !entry.has(table::STOPPING) {
        entry.raise(table::STOPPING);
        let generation = entry.generation();
        let cancel = opcode::AsyncCancel::new(Kind::Receive.data(generation, fd)).build();
        ring.push(&cancel.user_data(Kind::Stop.data(generation, fd)));
    }
}

const STOPPED: i32 = -sys::ECANCELED;
const NO_BUFFERS: i32 = -sys::ENOBUFS;
