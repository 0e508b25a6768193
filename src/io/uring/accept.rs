//! Accepting from one listener with one multishot entry, which can be paused.
//!
//! | wanted | armed | means |
//! |---|---|---|
//! | yes | yes | accepting |
//! | no | yes | a cancel is under way; connections accepted until it arrives are still reported |
//! | no | no | paused |
//! | yes | no | only within a call |
//!
//! Invariants: at most one accept entry is armed. The listener's descriptor is freed when none is.

use std::fmt;

use io_uring::opcode;
use io_uring::types;

use crate::io::Ready;
use crate::io::Socket;
use crate::io::calls;
use crate::io::calls::Refusal;
use crate::io::listen::Listener;
use crate::io::sys;
use crate::io::uring::Kind;
use crate::io::uring::ring::Answer;
use crate::io::uring::ring::Ring;

/// The listener and its one accept entry.
pub(super) struct Acceptor {
    listener: Option<Listener>,
    /// Which of the driver's listeners it is.
    index: u16,
    wanted: bool,
    armed: bool,
    cancelling: bool,
    /// Shut for good; the descriptor waits for the entry's last answer.
    stopped: bool,
    /// Of the entry, so that a late cancel cannot hit the next one.
    generation: u32,
}

impl Acceptor {
    pub(super) fn new(listener: Listener, index: u16) -> Self {
        Self {
            listener: Some(listener),
            index,
            wanted: false,
            armed: false,
            cancelling: false,
            stopped: false,
            generation: 0,
        }
    }

    pub(super) fn set(&mut self, on: bool, ring: &mut Ring) {
        self.wanted = on && !self.stopped && self.listener.is_some();
        if self.wanted && !self.armed {
            self.arm(ring);
        } else if !self.wanted && self.armed {
            self.cancel(ring);
        }
    }

    /// A listener that is shut refuses connects at once, and its accept entry answers.
    pub(super) fn stop(&mut self) {
        self.wanted = false;
        self.stopped = true;
        if let Some(listener) = &self.listener {
            sys::shutdown(listener.fd(), sys::SHUT_RDWR);
        }
        if !self.armed {
            self.listener = None;
        }
    }

    /// Runs an answer of the accept entry. Returns the errno for which accepting pauses.
    pub(super) fn answered(
        &mut self,
        answer: Answer,
        ring: &mut Ring,
        out: &mut Vec<Ready>,
    ) -> Option<i32> {
        let mut failure = None;
        if answer.result < 0 {
            let errno = -answer.result;
            let paused = errno != libc::ECANCELED && calls::refusal(errno) == Refusal::Pause;
            if paused && self.wanted {
                self.wanted = false;
                failure = Some(errno);
            }
        } else {
            accepted(answer.result, self.index, out);
        }
        if !answer.more() {
            self.armed = false;
            self.cancelling = false;
            if self.stopped {
                self.listener = None;
            } else if self.wanted {
                self.arm(ring);
            }
        }
        failure
    }

    /// Runs the answer of a cancel. The accept entry answers by itself if it was found.
    pub(super) fn cancelled(&mut self, answer: Answer, ring: &mut Ring) {
        if Kind::generation(answer.data) != self.generation {
            return;
        }
        self.cancelling = false;
        // It was just running: once more.
        if answer.result == -libc::EALREADY && self.armed && !self.wanted {
            self.cancel(ring);
        }
    }

    fn arm(&mut self, ring: &mut Ring) {
        let Some(listener) = &self.listener else { return };
        self.generation = self.generation.wrapping_add(1) & crate::io::table::GENERATION_MASK;
        let entry = opcode::AcceptMulti::new(types::Fd(listener.fd()))
            .flags(sys::SOCK_NONBLOCK | sys::SOCK_CLOEXEC)
            .build();
        ring.push(&entry.user_data(self.data()));
        self.armed = true;
    }

    fn cancel(&mut self, ring: &mut Ring) {
        if !self.cancelling {
            self.cancelling = true;
            let entry = opcode::AsyncCancel::new(self.data()).build();
            let data = Kind::Cancel.data(self.generation, i32::from(self.index));
            ring.push(&entry.user_data(data));
        }
    }

    fn data(&self) -> u64 {
        Kind::Accept.data(self.generation, i32::from(self.index))
    }
}

/// Multishot accept gives no address; a peer that has gone already has none.
fn accepted(fd: i32, listener: u16, out: &mut Vec<Ready>) {
    match sys::peer(fd) {
        Ok(peer) => out.push(Ready::Accepted { socket: Socket(fd), peer, listener }),
        Err(_) => sys::close(fd),
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("index", &self.index)
            .field("wanted", &self.wanted)
            .field("armed", &self.armed)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}
