//! The batched, silent SEND of io_uring, and `send(2)` in a loop: the two ways to hand out bytes.
//!
//! Written apart from the server's driver on purpose: the yardstick must not share what it
//! measures. Success posts nothing; only sends that fell short are reported.

#![allow(unsafe_code, reason = "sends borrow bytes that the compiler cannot follow into the ring")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measuring tool: it may end at a surprise, and its numbers are small"
)]

use io_uring::IoUring;
use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use std::io;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// Sends of one enter.
const BATCH: usize = 256;
/// `IORING_ENTER_GETEVENTS`: runs deferred work, and with `min_complete` 0 never sleeps.
const GETEVENTS: u32 = 1;
const HOW: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// One range for one socket.
pub(crate) struct Send<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) bytes: &'a [u8],
}

/// How bytes are handed out.
pub(crate) enum Sender {
    Uring(Box<IoUring>),
    Epoll,
}

impl Sender {
    /// `uring` or `epoll`.
    pub(crate) fn open(name: &str) -> Self {
        if name != "uring" {
            return Self::Epoll;
        }
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(4096)
            .dontfork()
            .build(256)
            .expect("io_uring is not to be had here; use --io epoll");
        Self::Uring(Box::new(ring))
    }

    /// Sends every range and appends those that fell short: index and bytes taken, or the error.
    pub(crate) fn flush(
        &mut self,
        sends: &[Send<'_>],
        short: &mut Vec<(usize, io::Result<usize>)>,
    ) {
        match self {
            Self::Uring(ring) => flush_ring(ring, sends, short),
            Self::Epoll => {
                for (index, send) in sends.iter().enumerate() {
                    let mut stream = send.stream;
                    match stream.write(send.bytes) {
                        Ok(taken) if taken == send.bytes.len() => {}
                        Ok(taken) => short.push((index, Ok(taken))),
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                            short.push((index, Ok(0)));
                        }
                        Err(cause) => short.push((index, Err(cause))),
                    }
                }
            }
        }
    }
}

fn flush_ring(ring: &mut IoUring, sends: &[Send<'_>], short: &mut Vec<(usize, io::Result<usize>)>) {
    let (submitter, mut queue, mut completions) = ring.split();
    for (number, batch) in sends.chunks(BATCH).enumerate() {
        for (index, send) in batch.iter().enumerate() {
            let length = u32::try_from(send.bytes.len()).unwrap();
            let entry = opcode::Send::new(Fd(send.stream.as_raw_fd()), send.bytes.as_ptr(), length);
            let entry = entry.flags(HOW).build().flags(Flags::SKIP_SUCCESS);
            let entry = entry.user_data((number * BATCH + index) as u64);
            // SAFETY: `bytes` outlives this call, and with DONTWAIT no send outlives the enter.
            unsafe { queue.push(&entry) }.expect("the queue holds one batch");
        }
        queue.sync();
        let mut left = batch.len();
        loop {
            // SAFETY: no argument block is passed.
            match unsafe { submitter.enter::<libc::sigset_t>(left as u32, 0, GETEVENTS, None) } {
                Ok(taken) => left -= taken,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => panic!("io_uring_enter: {e}"),
            }
            queue.sync();
            completions.sync();
            for completion in &mut completions {
                let sent = match completion.result() {
                    taken if taken >= 0 => Ok(taken as usize),
                    code if code == -libc::EAGAIN => Ok(0),
                    code => Err(io::Error::from_raw_os_error(-code)),
                };
                short.push((completion.user_data() as usize, sent));
            }
            completions.sync();
            if left == 0 && !queue.cq_overflow() {
                break;
            }
        }
    }
}
