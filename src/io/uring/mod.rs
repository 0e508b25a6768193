//! The driver on io_uring.
//!
//! | entry | lives | answers |
//! |---|---|---|
//! | send | within `flush` | only if it fell short |
//! | poll of an interest | until it fires, or the socket is shut | once |
//! | accept, one per listener | while accepting | per connection |
//! | receive, where `receive_ahead` is on | until stopped, shut, or out of buffers | per piece |
//! | poll of the eventfd | always | per wake |
//! | timeout | while the worker is busy | once |
//!
//! Invariants:
//! 1. Nothing of a `flush` is in flight when it returns.
//! 2. A descriptor is closed when no poll and no receive of it is armed: those hold the file open,
//!    so `close` shuts the connection first, which makes each of them answer.
//! 3. An answer carries descriptor and generation, so that a stale one finds nothing.
//! 4. Answers are reaped first and run later: no recursion, bounded turns.
//! 5. The ring belongs to the thread that made it.
//! 6. A socket is read by the ring or by `recv(2)`, never by both: while a receive is under way,
//!    and until what it brought is read, `recv` takes from that alone.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::IntoRawFd;
use std::time::Duration;

use io_uring::opcode;
use io_uring::types;

use crate::io::Driver;
use crate::io::Interest;
use crate::io::Outgoing;
use crate::io::Ready;
use crate::io::Recv;
use crate::io::Remote;
use crate::io::Short;
use crate::io::Socket;
use crate::io::Token;
use crate::io::calls;
use crate::io::choice::Unavailable;
use crate::io::listen::Listener;
use crate::io::remote;
use crate::io::sys;
use crate::io::table;
use crate::io::table::Table;
use crate::io::uring::accept::Acceptor;
use crate::io::uring::eager::Eager;
use crate::io::uring::ring::Answer;
use crate::io::uring::ring::Ring;
use crate::io::waker::Waker;

mod accept;
mod alarm;
mod buffers;
mod eager;
mod held;
mod ring;

/// Reports per turn: a mass disconnect keeps nobody waiting.
const READY_MAX: usize = 4096;
/// What an armed poll costs the kernel, in bytes.
const POLL_COST: usize = 256;

/// What an entry is, in the top byte of its data. An interest's value is its bit in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::io::uring) enum Kind {
    Hangup = 1,
    Read = 2,
    Write = 4,
    Send = 8,
    Accept = 16,
    Cancel = 17,
    Wake = 18,
    Receive = 19,
    Stop = 20,
    Alarm = 21,
}

impl Kind {
    fn data(self, generation: u32, fd: i32) -> u64 {
        u64::from(self as u8) << 56
            | u64::from(generation & table::GENERATION_MASK) << 32
            | u64::from(fd.cast_unsigned())
    }

    fn of(data: u64) -> Option<Self> {
        Some(match data >> 56 {
            1 => Self::Hangup,
            2 => Self::Read,
            4 => Self::Write,
            8 => Self::Send,
            16 => Self::Accept,
            17 => Self::Cancel,
            18 => Self::Wake,
            19 => Self::Receive,
            20 => Self::Stop,
            21 => Self::Alarm,
            _ => return None,
        })
    }

    #[allow(clippy::cast_possible_truncation, reason = "a field of the word")]
    fn generation(data: u64) -> u32 {
        (data >> 32) as u32 & table::GENERATION_MASK
    }

    #[allow(clippy::cast_possible_truncation, reason = "a field of the word")]
    fn fd(data: u64) -> i32 {
        (data as u32).cast_signed()
    }
}

impl From<Interest> for Kind {
    fn from(interest: Interest) -> Self {
        match interest {
            Interest::Hangup => Self::Hangup,
            Interest::Read => Self::Read,
            Interest::Write => Self::Write,
        }
    }
}

/// The driver on io_uring.
pub struct Uring {
    ring: Ring,
    waker: Waker,
    acceptors: Vec<Acceptor>,
    table: Table,
    shorts: Vec<Short>,
    eager: Eager,
    /// Invariant 5.
    thread: PhantomData<*const ()>,
}

impl Uring {
    /// A driver for the calling thread, which accepts from `listeners`, if there are any, and is
    /// woken by `waker`.
    ///
    /// # Errors
    /// What stands in the way, with the remedy.
    pub fn new(listeners: Vec<Listener>, waker: &Waker) -> Result<Self, Unavailable> {
        Ring::open().map(|ring| Self::over(ring, listeners, waker))
    }

    fn over(ring: Ring, listeners: Vec<Listener>, waker: &Waker) -> Self {
        let acceptors = listeners.into_iter().zip(0..);
        let acceptors = acceptors.map(|(listener, index)| Acceptor::new(listener, index));
        let mut uring = Self {
            ring,
            waker: waker.clone(),
            acceptors: acceptors.collect(),
            table: Table::default(),
            shorts: Vec::with_capacity(256),
            eager: Eager::default(),
            thread: PhantomData,
        };
        uring.watch_waker();
        uring
    }

    /// Multishot works by edges: each wake is one edge, and the eventfd need not be read.
    fn watch_waker(&mut self) {
        let fd = types::Fd(self.waker.fd());
        let poll = opcode::PollAdd::new(fd, POLLIN).multi(true).build();
        self.ring.push(&poll.user_data(Kind::Wake.data(0, 0)));
    }

    /// Runs the answers that have been reaped, a bounded number.
    fn report(&mut self, out: &mut Vec<Ready>) {
        self.report_unread(out);
        let (mut woken, mut left) = (None, READY_MAX);
        while left > 0 {
            let Some(answer) = self.ring.answer() else { break };
            left -= 1;
            match Kind::of(answer.data) {
                Some(kind @ (Kind::Hangup | Kind::Read | Kind::Write)) => {
                    self.polled(kind, answer, out);
                }
                Some(Kind::Accept) => self.accepted(answer, out),
                Some(Kind::Cancel) => {
                    if let Some(acceptor) = acceptor(&mut self.acceptors, answer) {
                        acceptor.cancelled(answer, &mut self.ring);
                    }
                }
                // Several wakes are one report.
                Some(Kind::Wake) => woken = Some(answer.more() && woken != Some(false)),
                Some(Kind::Receive) => self.received(answer, out),
                Some(Kind::Stop) => self.stopped(answer),
                Some(Kind::Alarm) => self.ring.alarm_rang(answer),
                Some(Kind::Send) | None => debug_assert!(false, "no send outlives its flush"),
            }
        }
        if let Some(more) = woken {
            self.woken(more, out);
        }
    }

    /// Runs one poll's answer.
    fn polled(&mut self, kind: Kind, answer: Answer, out: &mut Vec<Ready>) {
        let (fd, generation) = (Kind::fd(answer.data), Kind::generation(answer.data));
        let Some(entry) = self.table.find(fd, generation) else { return };
        entry.lower(u32::from(kind as u8));
        if entry.has(table::CLOSING) {
            self.closed(fd, generation);
        } else {
            // A negative result: the kernel would not watch it, so the connection is of no use.
            let hangup = answer.result < 0 || answer.result.cast_unsigned() & GONE != 0;
            out.push(Ready::Watched {
                token: entry.token(),
                readable: kind == Kind::Read,
                writable: kind == Kind::Write,
                hangup,
            });
        }
    }

    /// Frees the descriptor of a closed socket when nothing of it is under way.
    fn closed(&mut self, fd: i32, generation: u32) {
        if let Some(entry) = self.table.find(fd, generation).filter(|e| e.under_way() == 0) {
            entry.free();
            calls::free(fd);
        }
    }

    /// Runs an answer of an accept entry. A failure pauses all listeners, so it is reported once.
    fn accepted(&mut self, answer: Answer, out: &mut Vec<Ready>) {
        let Some(acceptor) = acceptor(&mut self.acceptors, answer) else { return };
        if let Some(errno) = acceptor.answered(answer, &mut self.ring, out) {
            self.accept(false);
            out.push(Ready::AcceptFailed { errno });
        }
    }

    fn woken(&mut self, more: bool, out: &mut Vec<Ready>) {
        self.waker.clear();
        out.push(Ready::Woken);
        if !more {
            self.watch_waker();
        }
    }
}

/// The acceptor whose entry, or cancel, has answered.
fn acceptor(acceptors: &mut [Acceptor], answer: Answer) -> Option<&mut Acceptor> {
    let index = usize::try_from(Kind::fd(answer.data)).ok()?;
    acceptors.get_mut(index)
}

const POLLIN: u32 = sys::EPOLLIN.cast_unsigned();
const POLLOUT: u32 = sys::EPOLLOUT.cast_unsigned();
const POLLRDHUP: u32 = sys::EPOLLRDHUP.cast_unsigned();
/// The peer has gone or shut its writing side.
const GONE: u32 = POLLRDHUP | sys::EPOLLHUP.cast_unsigned() | sys::EPOLLERR.cast_unsigned();

impl Driver for Uring {
    fn flush(&mut self, sends: &[Outgoing<'_>]) -> io::Result<&[Short]> {
        self.shorts.clear();
        self.ring.send_all(sends, &mut self.shorts)?;
        Ok(&self.shorts)
    }

    fn recv(&mut self, socket: Socket, into: &mut [u8]) -> Recv {
        self.take(socket, into).unwrap_or_else(|| calls::recv(socket, into))
    }

    fn receive_ahead(&mut self, socket: Socket, on: bool) {
        self.set_eager(socket, on);
    }

    fn delay_acks(&mut self, socket: Socket) {
        calls::delay_acks(socket);
    }

    fn is_idle(&mut self, socket: Socket) -> bool {
        !self.has_input(socket) && calls::has_nothing(socket)
    }

    fn watch(&mut self, socket: Socket, token: Token, interest: Interest) {
        let Some(entry) = self.table.entry(socket.0) else { return };
        let bit = table::bit(interest);
        entry.set_token(token);
        if entry.has(bit | table::CLOSING) {
            return;
        }
        if interest == Interest::Read && self.ask(socket) {
            return;
        }
        let Some(entry) = self.table.entry(socket.0) else { return };
        entry.raise(bit);
        // Errors and the end of both directions are always reported.
        let events = match interest {
            Interest::Hangup => POLLRDHUP,
            Interest::Read => POLLIN | POLLRDHUP,
            Interest::Write => POLLOUT,
        };
        let data = Kind::from(interest).data(entry.generation(), socket.0);
        let poll = opcode::PollAdd::new(types::Fd(socket.0), events).build();
        self.ring.push(&poll.user_data(data));
    }

    fn connect(&mut self, to: &Remote, token: Token) -> Result<Socket, i32> {
        let socket = Socket(remote::start(to)?.into_raw_fd());
        self.watch(socket, token, Interest::Write);
        Ok(socket)
    }

    fn connected(&mut self, socket: Socket) -> Result<(), i32> {
        remote::connected(socket.0)
    }

    fn finish(&mut self, socket: Socket) {
        sys::shutdown(socket.0, sys::SHUT_WR);
    }

    fn close(&mut self, socket: Socket) {
        let Some(entry) = self.table.entry(socket.0) else { return };
        if entry.has(table::CLOSING) {
            return;
        }
        if entry.under_way() == 0 {
            entry.free();
            calls::free(socket.0);
        } else {
            entry.raise(table::CLOSING);
            sys::shutdown(socket.0, sys::SHUT_RDWR);
        }
        self.eager.forget(socket.0);
    }

    fn reset(&mut self, socket: Socket) {
        sys::discard_on_close(socket.0);
        // While polls are armed `close` must shut the connection first, and a shutdown tells the
        // peer an orderly end. So the reset comes before it.
        sys::disconnect(socket.0);
        self.close(socket);
    }

    fn accept(&mut self, on: bool) {
        for acceptor in &mut self.acceptors {
            acceptor.set(on, &mut self.ring);
        }
    }

    fn stop_listening(&mut self) {
        self.acceptors.iter_mut().for_each(Acceptor::stop);
    }

    fn turn(&mut self, wait: Option<Duration>, out: &mut Vec<Ready>) -> io::Result<()> {
        self.flush_and_turn(&[], wait, out, &mut Vec::new())
    }

    fn flush_and_turn(
        &mut self,
        sends: &[Outgoing<'_>],
        wait: Option<Duration>,
        out: &mut Vec<Ready>,
        shorts: &mut Vec<Short>,
    ) -> io::Result<()> {
        let wait = self.patience(wait);
        self.ring.turn(sends, wait, shorts)?;
        self.report(out);
        Ok(())
    }

    fn has_news(&mut self) -> bool {
        self.eager.has_unread() || self.ring.has_news()
    }

    fn watch_cost(&self) -> usize {
        POLL_COST
    }

    fn name(&self) -> &'static str {
        "uring"
    }
}

impl Drop for Uring {
    /// Connections that nobody was told of, and those that nobody owns any more.
    fn drop(&mut self) {
        while let Some(answer) = self.ring.answer() {
            if Kind::of(answer.data) == Some(Kind::Accept) && answer.result >= 0 {
                sys::close(answer.result);
            }
        }
        self.table.each_closing(sys::close);
        self.eager.close(&self.ring);
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring").field("acceptors", &self.acceptors).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
