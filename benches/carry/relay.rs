//! The bare relay loop: what it costs the kernel to pass bytes from N upstream sockets to N client
//! sockets, with nothing else around it. What a proxy costs is compared with this.
//!
//! Receives are multishot from a ring of provided buffers, sends are the batched, silent SEND of
//! io_uring; one enter sends what the last one received. No parsing, no timers, no backpressure: a
//! client that does not read loses its stream. `--recv poll` receives as a server without provided
//! buffers would: a one-shot poll, then `recv(2)`.

#![allow(unsafe_code, reason = "the ring reads and writes memory that the compiler cannot follow")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::disallowed_methods,
    reason = "a measuring tool: it may end at a surprise, and its numbers are small"
)]

use io_uring::IoUring;
use io_uring::cqueue;
use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types;
use std::alloc::Layout;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

const BUFFERS: u16 = 1024;
const BUFFER: usize = 4096;
const GROUP: u16 = 1;
const HOW: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// What an entry's data says besides the stream's number.
const SEND: u64 = 1 << 32;
/// One enter sends so much at most.
const BATCH: usize = 256;

/// One stream: from here to there.
struct Stream {
    upstream: TcpStream,
    client: TcpStream,
}

/// The ring of provided buffers.
struct Buffers {
    ring: *mut types::BufRingEntry,
    bytes: Vec<u8>,
    tail: u16,
}

impl Buffers {
    fn new(ring: &IoUring) -> Self {
        let size = usize::from(BUFFERS) * size_of::<types::BufRingEntry>();
        let layout = Layout::from_size_align(size, 4096).unwrap();
        // SAFETY: the size is not zero.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        #[allow(clippy::cast_ptr_alignment, reason = "it is aligned to a page")]
        let entries = memory.cast::<types::BufRingEntry>();
        // SAFETY: the memory is never freed.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(entries as u64, BUFFERS, GROUP, 0)
                .unwrap();
        }
        let bytes = vec![0; usize::from(BUFFERS) * BUFFER];
        let mut buffers = Self { ring: entries, bytes, tail: 0 };
        (0..BUFFERS).for_each(|id| buffers.give(id));
        buffers.publish();
        buffers
    }

    fn give(&mut self, id: u16) {
        let at = usize::from(self.tail & (BUFFERS - 1));
        let start = usize::from(id) * BUFFER;
        // SAFETY: `at` is below the number of entries.
        let entry = unsafe { self.ring.add(at) };
        // SAFETY: the memory is never freed, and no other reference to it exists now.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.bytes[start..].as_ptr() as u64);
        entry.set_len(BUFFER as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the ring was registered with the kernel and lives on.
        let tail = unsafe { types::BufRingEntry::tail(self.ring) }.cast::<AtomicU16>();
        // SAFETY: the kernel reads this word, and this thread alone writes it.
        unsafe { &*tail }.store(self.tail, Ordering::Release);
    }

    fn range(&self, id: u16, length: usize) -> &[u8] {
        let start = usize::from(id) * BUFFER;
        &self.bytes[start..start + length]
    }
}

/// Relays until it is killed.
pub(crate) fn run(port: u16, upstream: u16, poll: bool) {
    let (sender, streams) = mpsc::channel();
    std::thread::spawn(move || open(port, upstream, &sender));
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(8192)
        .build(512)
        .expect("io_uring is not to be had here");
    let mut relay = Relay {
        buffers: Buffers::new(&ring),
        streams: Vec::new(),
        free: Vec::new(),
        sends: Vec::new(),
        arms: Vec::new(),
        scratch: vec![0; BATCH * BUFFER],
        poll,
    };
    loop {
        while let Ok(stream) = streams.try_recv() {
            relay.arms.push(relay.streams.len());
            relay.streams.push(stream);
        }
        relay.turn(&mut ring);
    }
}

struct Relay {
    buffers: Buffers,
    streams: Vec<Stream>,
    /// Buffers whose bytes are sent: they go back with the next turn.
    free: Vec<u16>,
    /// What to send: the stream, and where its bytes are.
    sends: Vec<(usize, *const u8, usize)>,
    /// Streams whose receive must be armed.
    arms: Vec<usize>,
    scratch: Vec<u8>,
    poll: bool,
}

impl Relay {
    fn turn(&mut self, ring: &mut IoUring) {
        let wait = types::Timespec::new().nsec(10_000_000);
        let arguments = types::SubmitArgs::new().timespec(&wait);
        // A timeout is no error: new streams are looked for.
        let _ = ring.submitter().submit_with_args(1, &arguments);
        let mut used = 0;
        loop {
            let taken: Vec<cqueue::Entry> = ring.completion().take(BATCH).collect();
            if taken.is_empty() {
                break;
            }
            for entry in &taken {
                if self.poll { self.readable(entry, &mut used) } else { self.received(entry) }
            }
            self.submit(ring);
            used = 0;
        }
        self.submit(ring);
    }

    /// A multishot receive has bytes.
    fn received(&mut self, entry: &cqueue::Entry) {
        let data = entry.user_data();
        if data & SEND != 0 {
            return; // Fell short: the yardstick does not wait for anybody.
        }
        let index = data as usize;
        if entry.result() > 0
            && let Some(id) = cqueue::buffer_select(entry.flags())
        {
            let bytes = self.buffers.range(id, entry.result() as usize);
            self.sends.push((index, bytes.as_ptr(), bytes.len()));
            self.free.push(id);
        }
        if !cqueue::more(entry.flags()) && entry.result() != 0 {
            self.arms.push(index);
        }
    }

    /// A one-shot poll has fired.
    fn readable(&mut self, entry: &cqueue::Entry, used: &mut usize) {
        let data = entry.user_data();
        if data & SEND != 0 {
            return;
        }
        let index = data as usize;
        let room = &mut self.scratch[*used..*used + BUFFER];
        match self.streams[index].upstream.read(room) {
            Ok(0) => return,
            Ok(count) => {
                self.sends.push((index, room.as_ptr(), count));
                *used += BUFFER;
            }
            Err(_) => {}
        }
        self.arms.push(index);
    }

    /// Arms and sends in one enter; then the buffers are free.
    fn submit(&mut self, ring: &mut IoUring) {
        if self.arms.is_empty() && self.sends.is_empty() {
            return;
        }
        for (index, bytes, length) in self.sends.drain(..) {
            let fd = types::Fd(self.streams[index].client.as_raw_fd());
            let entry = opcode::Send::new(fd, bytes, length as u32).flags(HOW).build();
            let entry = entry.flags(Flags::SKIP_SUCCESS).user_data(SEND | index as u64);
            push(ring, &entry);
        }
        for index in self.arms.drain(..) {
            let fd = types::Fd(self.streams[index].upstream.as_raw_fd());
            let entry = if self.poll {
                opcode::PollAdd::new(fd, libc::POLLIN as u32).build()
            } else {
                opcode::RecvMulti::new(fd, GROUP).build()
            };
            push(ring, &entry.user_data(index as u64));
        }
        ring.submit().unwrap();
        if !self.free.is_empty() {
            for id in std::mem::take(&mut self.free) {
                self.buffers.give(id);
            }
            self.buffers.publish();
        }
    }
}

fn push(ring: &mut IoUring, entry: &io_uring::squeue::Entry) {
    loop {
        // SAFETY: with DONTWAIT no send outlives the enter, and the bytes outlive that.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return;
        }
        ring.submit().unwrap();
    }
}

/// Accepts, asks the upstream what the client asked, and hands both sockets over.
fn open(port: u16, upstream: u16, sender: &mpsc::Sender<Stream>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is taken");
    println!("listening on http://127.0.0.1:{port}");
    while let Ok((mut client, _)) = listener.accept() {
        let mut request = Vec::new();
        let mut bytes = [0; 4096];
        while !request.windows(4).any(|w| w == b"\r\n\r\n") {
            match client.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(count) => request.extend_from_slice(&bytes[..count]),
            }
        }
        let Ok(mut source) = TcpStream::connect(("127.0.0.1", upstream)) else { continue };
        if request.is_empty() || source.write_all(&request).is_err() {
            continue;
        }
        client.set_nodelay(true).unwrap();
        client.set_nonblocking(true).unwrap();
        source.set_nonblocking(true).unwrap();
        if sender.send(Stream { upstream: source, client }).is_err() {
            return;
        }
    }
}
