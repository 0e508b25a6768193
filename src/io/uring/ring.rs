//! The ring itself: set-up, submission, reaping.
//!
//! # Safety
//! The kernel reads memory that entries point at, and no lifetime follows a pointer into the ring,
//! so safe code cannot do it. What the blocks below rely on:
//! 1. A send's bytes are borrowed for the whole of `send_all` and `turn`, and with `MSG_DONTWAIT` a
//!    send is over when the enter that submits it returns. Both return `Ok` only when every entry
//!    has been submitted.
//! 2. If they return `Err`, entries that point at borrowed bytes may be left. The ring is then
//!    `broken` and never entered again; dropping it drops them.
//! 3. All other entries (poll, accept, cancel) hold integers only, and the timeout's points at a
//!    static.
//! 4. The argument of an enter lives on this stack, with its true type.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::EnterFlags;
use io_uring::IoUring;
use io_uring::cqueue::CompletionQueue;
use io_uring::opcode;
use io_uring::squeue;
use io_uring::types;

use crate::io::Outgoing;
use crate::io::Short;
use crate::io::calls;
use crate::io::choice::Unavailable;
use crate::io::sys;
use crate::io::uring::Kind;
use crate::io::uring::alarm::Alarm;
use crate::io::uring::buffers::BUFFERS;
use crate::io::uring::buffers::Buffers;
use crate::io::uring::eager::HELD_MAX;

/// Submission entries, and so sends per enter: one enter stays within about a millisecond.
const SUBMISSIONS: u32 = 256;
/// Completion entries. Armed polls are not bounded by it: more answers wait in the kernel.
const COMPLETIONS: u32 = 4096;
/// Enters per turn. Recent kernels run some twenty pieces of deferred work in each; one turn takes
/// in more than that, and still not everything.
const ENTERS_MAX: u32 = 24;
/// Pieces received ahead in one turn, about: a quarter of the buffers.
const RECEIVED_MAX: usize = BUFFERS as usize / 4;
/// Memory of the ring of a process that has just ended is still charged for a while.
const MEMORY_RETRIES: u32 = 40;
const MEMORY_PAUSE: Duration = Duration::from_millis(50);
/// Enters in a row that achieve nothing before the ring counts as broken.
const FRUITLESS_MAX: u32 = 10_000;

/// An answer of the kernel, copied out: reaped first, run later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) data: u64,
    pub(super) result: i32,
    flags: u32,
}

impl Answer {
    /// The entry stays armed and will answer again.
    pub(super) fn more(self) -> bool {
        io_uring::cqueue::more(self.flags)
    }

    /// Of a receive that goes on by itself.
    fn is_receive(self) -> bool {
        matches!(Kind::of(self.data), Some(Kind::Receive))
    }

    /// The buffer that the kernel has taken for it.
    pub(super) fn buffer(self) -> Option<u16> {
        io_uring::cqueue::buffer_select(self.flags)
    }
}

/// A ring and the answers that were reaped from it.
pub(super) struct Ring {
    ring: IoUring,
    answers: VecDeque<Answer>,
    alarm: Alarm,
    broken: Option<i32>,
}

impl Ring {
    /// Sets a ring up for the calling thread, which must be the one to use it.
    pub(super) fn open() -> Result<Self, Unavailable> {
        Self::with_completions(COMPLETIONS)
    }

    /// As `open`, with so many completion entries; few make it overflow in a test.
    pub(super) fn with_completions(completions: u32) -> Result<Self, Unavailable> {
        let ring = build(completions).map_err(|error| Unavailable::classify(&error))?;
        // All our operations finish inline; if one ever does not, it gets one thread.
        let _ = ring.submitter().register_iowq_max_workers(&mut [1, 1]);
        let answers = VecDeque::with_capacity(completions as usize);
        Ok(Self { ring, answers, alarm: Alarm::default(), broken: None })
    }

    /// Queues an entry without pointers; the next enter submits it.
    pub(super) fn push(&mut self, entry: &squeue::Entry) {
        for _ in 0..2 {
            // SAFETY: (3).
            if unsafe { self.ring.submission().push(entry) }.is_ok() || self.broken.is_some() {
                return;
            }
            if let Err(error) = self.submit() {
                self.broken = Some(error.raw_os_error().unwrap_or(sys::EINVAL));
            }
        }
    }

    /// Empties a full submission queue.
    fn submit(&mut self) -> io::Result<()> {
        self.send_all(&[], &mut Vec::new())
    }

    /// Submits every send and whatever was queued before, and lists the sends that fell short.
    ///
    /// An overflowed completion queue may hide a short, so it is emptied before this returns.
    pub(super) fn send_all(
        &mut self,
        sends: &[Outgoing<'_>],
        shorts: &mut Vec<Short>,
    ) -> io::Result<()> {
        self.check()?;
        let done = send_all(&mut self.ring, sends, shorts, &mut self.answers);
        if let Err(error) = &done {
            self.broken = Some(error.raw_os_error().unwrap_or(sys::EINVAL));
        }
        done
    }

    /// Submits every send and whatever is queued, sleeps up to `wait` if there is no answer yet and
    /// no send fell short, and reaps. The sends go with the call that sleeps if the queue has room.
    pub(super) fn turn(
        &mut self,
        sends: &[Outgoing<'_>],
        wait: Option<Duration>,
        shorts: &mut Vec<Short>,
    ) -> io::Result<()> {
        self.check()?;
        let before = shorts.len();
        if sends.len() > self.room() {
            self.send_all(sends, shorts)?;
            let wait = if shorts.len() > before { Some(Duration::ZERO) } else { wait };
            return self.turn(&[], wait, shorts);
        }
        let slept = self.send_and_sleep(sends, wait, shorts);
        // Not one entry with borrowed bytes may stay behind.
        let done = slept.and_then(|()| finish(&mut self.ring, sends, shorts, &mut self.answers));
        if let Err(error) = &done {
            self.broken = Some(error.raw_os_error().unwrap_or(sys::EINVAL));
        }
        done
    }

    /// Free places in the submission queue.
    fn room(&mut self) -> usize {
        let sq = self.ring.submission();
        sq.capacity() - sq.len()
    }

    /// As `turn`, for sends that fit; when it returns, some entries may not be submitted.
    fn send_and_sleep(
        &mut self,
        sends: &[Outgoing<'_>],
        wait: Option<Duration>,
        shorts: &mut Vec<Short>,
    ) -> io::Result<()> {
        let (submitter, mut sq, mut cq) = self.ring.split();
        for (send, index) in sends.iter().zip(0_u32..) {
            // SAFETY: (1), (2).
            unsafe { sq.push(&entry(send, index)) }.expect("the queue has room");
        }
        // A send that falls short answers at once, and so ends the sleep.
        let mut sleep = wait != Some(Duration::ZERO) && self.answers.is_empty() && cq.is_empty();
        let mut timed = wait;
        if sleep && !sq.is_full() {
            let (needs, entry) = self.alarm.sleep(wait);
            timed = wait.filter(|_| needs);
            if let Some(entry) = entry {
                // SAFETY: (3).
                unsafe { sq.push(&entry) }.expect("the queue has room");
            }
        }
        sq.sync();
        let timespec = timed.map(types::Timespec::from);
        let args = types::SubmitArgs::new();
        let args = timespec.as_ref().map_or(args, |timespec| args.timespec(timespec));
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        // Nothing to submit, nothing deferred, nothing overflowed: then the kernel has no news
        // beyond what it has posted, and asking costs a system call.
        let mut ahead = Ahead::default();
        for _ in 0..ENTERS_MAX {
            if !sleep && sq.is_empty() && !sq.taskrun() && !sq.cq_overflow() {
                break;
            }
            let queued = u32::try_from(sq.len()).unwrap_or(SUBMISSIONS);
            // SAFETY: (4).
            let entered = unsafe { submitter.enter(queued, u32::from(sleep), flags, Some(&args)) };
            sq.sync();
            cq.sync();
            let reaped = self.answers.len();
            reap(&mut cq, sends, shorts, &mut self.answers);
            let enough = ahead.is_enough(self.answers.iter().skip(reaped));
            sleep = false;
            match entered {
                Ok(_) if enough => break,
                Ok(_) => {}
                // Slept its time, interrupted, or short of memory: the next turn goes on.
                Err(error) if error.raw_os_error() == Some(sys::ETIME) || passes(&error) => break,
                Err(error) => return Err(error),
            }
        }
        reap(&mut cq, sends, shorts, &mut self.answers);
        Ok(())
    }

    /// The alarm's answer.
    pub(super) fn alarm_rang(&mut self, answer: Answer) {
        self.alarm.rang(answer.result);
    }

    /// Buffers for the kernel to receive into.
    pub(super) fn buffers(&self) -> io::Result<Buffers> {
        Buffers::open(&self.ring)
    }

    pub(super) fn close_buffers(&self, buffers: &Buffers) {
        buffers.close(&self.ring);
    }

    /// Whether there are answers that a turn has only to take.
    pub(super) fn has_news(&mut self) -> bool {
        if !self.answers.is_empty() {
            return true;
        }
        let (_, sq, cq) = self.ring.split();
        sq.taskrun() || !cq.is_empty()
    }

    /// All answers that there are by now; they stay.
    pub(super) fn reaped(&mut self) -> impl Iterator<Item = &Answer> {
        let (_, _, mut cq) = self.ring.split();
        cq.sync();
        reap(&mut cq, &[], &mut Vec::new(), &mut self.answers);
        self.answers.iter()
    }

    /// The next answer, in the order of arrival.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    fn check(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

fn send_all(
    ring: &mut IoUring,
    sends: &[Outgoing<'_>],
    shorts: &mut Vec<Short>,
    answers: &mut VecDeque<Answer>,
) -> io::Result<()> {
    let mut rest = sends.iter().zip(0_u32..).peekable();
    loop {
        let mut sq = ring.submission();
        while !sq.is_full() {
            let Some((send, index)) = rest.next() else { break };
            let entry = entry(send, index);
            // SAFETY: (1), (2).
            let pushed = unsafe { sq.push(&entry) };
            pushed.expect("the queue is not full");
        }
        drop(sq);
        finish(ring, sends, shorts, answers)?;
        if rest.peek().is_none() {
            return Ok(());
        }
    }
}

/// Submits everything that is queued.
fn finish(
    ring: &mut IoUring,
    sends: &[Outgoing<'_>],
    shorts: &mut Vec<Short>,
    answers: &mut VecDeque<Answer>,
) -> io::Result<()> {
    let (submitter, mut sq, mut cq) = ring.split();
    let mut fruitless = 0;
    loop {
        sq.sync();
        let queued = sq.len();
        if queued == 0 && !sq.cq_overflow() {
            return Ok(());
        }
        let flags = EnterFlags::GETEVENTS.bits();
        let count = u32::try_from(queued).unwrap_or(SUBMISSIONS);
        // SAFETY: (1): asking for events without waiting runs deferred work and never sleeps.
        match unsafe { submitter.enter::<libc::sigset_t>(count, 0, flags, None) } {
            Ok(_) => {}
            Err(error) if passes(&error) => {}
            Err(error) => return Err(error),
        }
        sq.sync();
        cq.sync();
        if sq.len() == queued && cq.is_empty() {
            fruitless += 1;
            if fruitless > FRUITLESS_MAX {
                return Err(io::Error::from_raw_os_error(sys::EBUSY));
            }
        } else {
            fruitless = 0;
        }
        reap(&mut cq, sends, shorts, answers);
    }
}

/// A send that never parks, reports a part as a failure, and is silent on success.
fn entry(send: &Outgoing<'_>, index: u32) -> squeue::Entry {
    debug_assert!(!send.bytes.is_empty(), "nothing can be learned from an empty send");
    let len = i32::try_from(send.bytes.len()).expect("a range is at most i32::MAX bytes");
    opcode::Send::new(types::Fd(send.socket.0), send.bytes.as_ptr(), len.cast_unsigned())
        .flags(sys::HOW)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(Kind::Send.data(0, index.cast_signed()))
}

/// Copies all answers out: those to sends become shorts, the others wait for their turn.
fn reap(
    cq: &mut CompletionQueue<'_>,
    sends: &[Outgoing<'_>],
    shorts: &mut Vec<Short>,
    answers: &mut VecDeque<Answer>,
) {
    for cqe in &mut *cq {
        let (data, result) = (cqe.user_data(), cqe.result());
        if !matches!(Kind::of(data), Some(Kind::Send)) {
            answers.push_back(Answer { data, result, flags: cqe.flags() });
            continue;
        }
        let index = Kind::fd(data).cast_unsigned() as usize;
        let sent = usize::try_from(result).or_else(|_| calls::unsent(-result));
        if sends.get(index).is_some_and(|send| sent != Ok(send.bytes.len())) {
            shorts.push(Short { index, sent });
        }
    }
    // Hands the slots back to the kernel.
    cq.sync();
}

/// What one turn has received ahead.
#[derive(Debug, Default)]
struct Ahead {
    pieces: usize,
    /// The receive that the last one is of, and how many of it stand side by side.
    last: u64,
    run: u16,
}

impl Ahead {
    /// Adds answers; true: they are to be looked at before more may come, since there are many, or
    /// one socket has had more than it may hold.
    fn is_enough<'a>(&mut self, answers: impl Iterator<Item = &'a Answer>) -> bool {
        let mut rush = false;
        for answer in answers.filter(|answer| answer.is_receive()) {
            self.pieces += 1;
            self.run = if answer.data == self.last { self.run.saturating_add(1) } else { 1 };
            self.last = answer.data;
            rush |= self.run > HELD_MAX;
        }
        rush || self.pieces >= RECEIVED_MAX
    }
}

/// Interrupted, out of memory for a moment, or the completion queue must be emptied first.
fn passes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(sys::EINTR | sys::EAGAIN | sys::EBUSY))
}

/// Builds the ring, with what this kernel offers from 6.1 on.
fn build(completions: u32) -> io::Result<IoUring> {
    let mut retries = MEMORY_RETRIES;
    let mut sqarray = false;
    loop {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_cqsize(completions)
            .setup_submit_all()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_single_issuer()
            .setup_defer_taskrun();
        if !sqarray {
            builder.setup_no_sqarray();
        }
        match builder.build(SUBMISSIONS) {
            // Before 6.6 there is always an array.
            Err(error) if error.raw_os_error() == Some(sys::EINVAL) && !sqarray => sqarray = true,
            Err(error) if error.raw_os_error() == Some(sys::ENOMEM) && retries > 0 => {
                retries -= 1;
                pause();
            }
            built => return built,
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "at start only: there is no driver to sleep in yet")]
fn pause() {
    std::thread::sleep(MEMORY_PAUSE);
}
