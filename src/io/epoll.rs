//! The driver on epoll, for hosts where io_uring is not to be had.
//!
//! Invariants:
//! 1. One registration per socket, one-shot. Its mask is the armed interests; `epoll_ctl` is called
//!    only when the mask that the kernel holds must change.
//! 2. A socket is registered at its first watch and forgotten by the kernel when it is closed.
//! 3. A report carries the generation of its socket, so that a stale one finds nothing.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

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
use crate::io::calls::Refusal;
use crate::io::listen::Listener;
use crate::io::remote;
use crate::io::sys;
use crate::io::sys::Ctl;
use crate::io::table;
use crate::io::table::Table;
use crate::io::waker::Waker;

/// Readiness reports taken per turn.
const EVENTS_MAX: usize = 1024;
/// Connections accepted per turn and listener, so that a storm of them keeps nobody waiting.
const ACCEPTS_MAX: usize = 256;
/// Data of the listeners, from the first on, and of the eventfd: above any socket's, whose
/// generations have fewer bits.
const LISTENERS: u64 = 1 << 63;
const WAKER: u64 = u64::MAX;

/// The driver on epoll.
pub struct Epoll {
    epoll: OwnedFd,
    waker: Waker,
    listeners: Vec<Listener>,
    accepting: bool,
    /// Why the kernel would not watch the listeners: reported by the next turn.
    accept_error: Option<i32>,
    table: Table,
    /// Sockets that the kernel would not watch (no memory, no watches left): reported as gone.
    refused: Vec<(i32, u32)>,
    events: Box<[sys::Event]>,
    shorts: Vec<Short>,
}

impl Epoll {
    /// A driver that accepts from `listeners`, if there are any, and is woken by `waker`.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(listeners: Vec<Listener>, waker: &Waker) -> io::Result<Self> {
        let epoll = sys::epoll()?;
        // By edges: each wake is one edge, and the eventfd need not be read.
        sys::control(epoll.as_raw_fd(), Ctl::Add, waker.fd(), EPOLLIN | EPOLLET, WAKER)
            .map_err(io::Error::from_raw_os_error)?;
        Ok(Self {
            epoll,
            waker: waker.clone(),
            listeners,
            accepting: false,
            accept_error: None,
            table: Table::default(),
            refused: Vec::new(),
            events: vec![sys::Event { events: 0, u64: 0 }; EVENTS_MAX].into_boxed_slice(),
            shorts: Vec::with_capacity(256),
        })
    }

    /// Makes the kernel hold the mask that is armed.
    fn arm(&mut self, fd: i32) {
        let Some(entry) = self.table.entry(fd) else { return };
        let known = entry.has(table::REGISTERED);
        entry.raise(table::REGISTERED);
        let ctl = if known { Ctl::Modify } else { Ctl::Add };
        let generation = entry.generation();
        let (events, data) = (mask(entry.armed()), data(fd, generation));
        if sys::control(self.epoll.as_raw_fd(), ctl, fd, events, data).is_err() {
            if !known {
                entry.lower(table::REGISTERED);
            }
            self.refused.push((fd, generation));
        }
    }

    /// Reports what fired on a socket and re-arms what did not.
    fn fired(&mut self, data: u64, events: u32, out: &mut Vec<Ready>) {
        let (fd, generation) = undata(data);
        let Some(entry) = self.table.find(fd, generation) else { return };
        let fired = interests(events) & entry.armed();
        if fired == 0 {
            return;
        }
        entry.lower(fired);
        let rest = entry.armed();
        out.push(Ready::Watched {
            token: entry.token(),
            readable: fired & table::READ != 0,
            writable: fired & table::WRITE != 0,
            hangup: events & GONE != 0,
        });
        // One-shot has disarmed all of them.
        if rest != 0 {
            self.arm(fd);
        }
    }

    fn report_refused(&mut self, out: &mut Vec<Ready>) {
        while let Some((fd, generation)) = self.refused.pop() {
            self.fired(data(fd, generation), sys::EPOLLERR.cast_unsigned(), out);
        }
    }

    fn accept_some(&mut self, index: u16, out: &mut Vec<Ready>) {
        let listener = self.listeners.get(usize::from(index)).map(Listener::fd);
        let Some(fd) = listener.filter(|_| self.accepting) else { return };
        for _ in 0..ACCEPTS_MAX {
            match sys::accept(fd) {
                Ok((fd, peer)) => {
                    out.push(Ready::Accepted { socket: Socket(fd), peer, listener: index });
                }
                Err(errno) => match calls::refusal(errno) {
                    Refusal::Empty => return,
                    Refusal::Passing => {}
                    Refusal::Pause => {
                        self.accept(false);
                        out.push(Ready::AcceptFailed { errno });
                        return;
                    }
                },
            }
        }
    }

    /// Adds the listeners to the epoll set, or takes them out.
    fn control_listeners(&self, ctl: Ctl) -> Result<(), i32> {
        let mut done = Ok(());
        for (listener, data) in self.listeners.iter().zip(LISTENERS..) {
            let one = sys::control(self.epoll.as_raw_fd(), ctl, listener.fd(), EPOLLIN, data);
            done = done.and(one);
        }
        done
    }
}

const EPOLLIN: u32 = sys::EPOLLIN.cast_unsigned();
const EPOLLOUT: u32 = sys::EPOLLOUT.cast_unsigned();
const EPOLLRDHUP: u32 = sys::EPOLLRDHUP.cast_unsigned();
const EPOLLONESHOT: u32 = sys::EPOLLONESHOT.cast_unsigned();
const EPOLLET: u32 = sys::EPOLLET.cast_unsigned();
/// The connection is over, both ways.
const OVER: u32 = sys::EPOLLHUP.cast_unsigned() | sys::EPOLLERR.cast_unsigned();
/// The peer has gone or shut its writing side.
const GONE: u32 = OVER | EPOLLRDHUP;

/// What to ask the kernel for.
fn mask(armed: u32) -> u32 {
    let mut mask = EPOLLONESHOT;
    if armed & (table::HANGUP | table::READ) != 0 {
        mask |= EPOLLRDHUP;
    }
    if armed & table::READ != 0 {
        mask |= EPOLLIN;
    }
    if armed & table::WRITE != 0 {
        mask |= EPOLLOUT;
    }
    mask
}

/// Which interests the kernel's answer satisfies.
fn interests(events: u32) -> u32 {
    let mut fired = 0;
    if events & GONE != 0 {
        fired |= table::HANGUP;
    }
    if events & (GONE | EPOLLIN) != 0 {
        fired |= table::READ;
    }
    if events & (OVER | EPOLLOUT) != 0 {
        fired |= table::WRITE;
    }
    fired
}

fn data(fd: i32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(fd.cast_unsigned())
}

#[allow(clippy::cast_possible_truncation, reason = "the two halves of the word")]
fn undata(data: u64) -> (i32, u32) {
    ((data as u32).cast_signed(), (data >> 32) as u32)
}

impl Driver for Epoll {
    fn flush(&mut self, sends: &[Outgoing<'_>]) -> io::Result<&[Short]> {
        self.shorts.clear();
        for (index, send) in sends.iter().enumerate() {
            let sent = match sys::send(send.socket.0, send.bytes) {
                Ok(sent) if sent == send.bytes.len() => continue,
                Ok(sent) => Ok(sent),
                Err(errno) => calls::unsent(errno),
            };
            self.shorts.push(Short { index, sent });
        }
        Ok(&self.shorts)
    }

    fn recv(&mut self, socket: Socket, into: &mut [u8]) -> Recv {
        calls::recv(socket, into)
    }

    fn delay_acks(&mut self, socket: Socket) {
        calls::delay_acks(socket);
    }

    fn is_idle(&mut self, socket: Socket) -> bool {
        calls::has_nothing(socket)
    }

    fn watch(&mut self, socket: Socket, token: Token, interest: Interest) {
        let Some(entry) = self.table.entry(socket.0) else { return };
        let bit = table::bit(interest);
        entry.set_token(token);
        if !entry.has(bit) {
            entry.raise(bit);
            self.arm(socket.0);
        }
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
        if let Some(entry) = self.table.entry(socket.0) {
            entry.free();
            // The epoll set forgets a descriptor when it is closed.
            calls::free(socket.0);
        }
    }

    fn reset(&mut self, socket: Socket) {
        sys::discard_on_close(socket.0);
        self.close(socket);
    }

    fn accept(&mut self, on: bool) {
        self.accept_error = None;
        if on == self.accepting {
            return;
        }
        if !on {
            // One that is not in the set is no news.
            let _ = self.control_listeners(Ctl::Delete);
            self.accepting = false;
        } else if let Err(errno) = self.control_listeners(Ctl::Add) {
            let _ = self.control_listeners(Ctl::Delete);
            self.accept_error = Some(errno);
        } else {
            self.accepting = !self.listeners.is_empty();
        }
    }

    fn stop_listening(&mut self) {
        self.accept(false);
        self.listeners.clear();
    }

    fn turn(&mut self, wait: Option<Duration>, out: &mut Vec<Ready>) -> io::Result<()> {
        let news = !self.refused.is_empty() || self.accept_error.is_some();
        let wait = if news { Some(Duration::ZERO) } else { wait };
        let count = match sys::wait(self.epoll.as_raw_fd(), &mut self.events, wait) {
            Ok(count) => count,
            Err(sys::EINTR) => 0,
            Err(errno) => return Err(io::Error::from_raw_os_error(errno)),
        };
        self.report_refused(out);
        if let Some(errno) = self.accept_error.take() {
            out.push(Ready::AcceptFailed { errno });
        }
        for index in 0..count {
            let Some(event) = self.events.get(index) else { break };
            match (event.u64, event.events) {
                (WAKER, _) => {
                    self.waker.clear();
                    out.push(Ready::Woken);
                }
                (data @ LISTENERS.., _) => {
                    let index = u16::try_from(data - LISTENERS).unwrap_or(u16::MAX);
                    self.accept_some(index, out);
                }
                (data, events) => self.fired(data, events, out),
            }
        }
        Ok(())
    }

    /// An epitem and an eppoll_entry.
    fn watch_cost(&self) -> usize {
        192
    }

    fn name(&self) -> &'static str {
        "epoll"
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoll").field("accepting", &self.accepting).finish_non_exhaustive()
    }
}
