//! Who is slow slows down whoever feeds it, and nobody else; and costs a bounded amount.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::stage::proxy;
use crate::stage::share;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

crate::on_both_drivers!(
    a_slow_client_slows_its_own_backend_alone,
    a_slow_backend_slows_its_own_client_alone,
    many_slow_clients_cost_a_bounded_amount,
    a_slow_client_of_a_shared_stream_slows_nobody,
);

/// More than all buffers between a backend and a client can hold.
const BYTES: usize = 40 << 20;
/// What those buffers may hold: the kernel's on both sides, and ours.
const BUFFERS: usize = 24 << 20;

/// What passing them may cost, with all that an allocator keeps.
const COST: u64 = 32 << 20;

/// The bytes that pass. No two pieces of a megabyte are alike.
fn pattern() -> &'static [u8] {
    static BYTES_ALL: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES_ALL.get_or_init(|| (0..BYTES).map(|n| (n / 3 + n / 65_536) as u8).collect())
}

/// Sends `BYTES` to everybody, and counts for `/slow` what it could send.
fn flood() -> (Arc<AtomicUsize>, Origin) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let origin = Origin::start(move |call| {
        call.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"));
        let slow = call.asked.path() == "/slow";
        for piece in pattern().chunks(64 * 1024) {
            if !call.send(piece) {
                return Next::Close;
            }
            if slow {
                counter.fetch_add(piece.len(), SeqCst);
            }
        }
        Next::Keep
    });
    (sent, origin)
}

fn a_slow_client_slows_its_own_backend_alone(io: Io) {
    let (sent, origin) = flood();
    let server = proxy(io, &origin, "");
    let before = server.rss();
    let mut slow = Peer::connect_from(server.address, None, Some(16 * 1024)).unwrap();
    slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut response = slow.head();
    // Others get all of theirs meanwhile, on either worker.
    for _ in 0..3 {
        let mut peer = Peer::connect(server.address);
        peer.send("GET /fast HTTP/1.1\r\nHost: h\r\n\r\n");
        let fast = peer.response();
        assert!(fast.body == pattern(), "changed on the way");
    }
    let stuck = sent.load(SeqCst);
    assert!(stuck < BUFFERS, "a backend could send {stuck} bytes that nobody read");
    let grown = server.rss().saturating_sub(before);
    assert!(grown < COST, "what passes costs {grown} bytes");
    slow.body(&mut response);
    assert!(response.body == pattern(), "changed on the way");
    assert_eq!(sent.load(SeqCst), BYTES, "and it goes on when the client does");
}

fn a_slow_backend_slows_its_own_client_alone(io: Io) {
    let gate = crate::common::tape::Tape::new();
    let opens = Arc::clone(&gate);
    let origin = Origin::start_narrow(move |call| {
        if call.asked.path() == "/slow" && opens.wait(0, call).is_none() {
            return Next::Close;
        }
        call.read_body();
        let same = call.asked.body == pattern();
        call.respond(200, "", same.to_string())
    });
    let server = proxy(io, &origin, "");
    let upload = |target: &str| {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {BYTES}\r\n\r\n"));
        peer
    };
    let pass = || {
        let mut fast = upload("/fast");
        fast.send(pattern());
        assert_eq!(fast.response().text(), "true");
    };
    let before = server.rss();
    let mut slow = upload("/slow");
    let taken = Arc::new(AtomicUsize::new(0));
    let (mut writer, counter) =
        (Peer::over(slow.socket().try_clone().unwrap()), Arc::clone(&taken));
    let thread = std::thread::spawn(move || {
        for piece in pattern().chunks(64 * 1024) {
            writer.send(piece);
            counter.fetch_add(piece.len(), SeqCst);
        }
    });
    for _ in 0..3 {
        pass();
    }
    let stuck = taken.load(SeqCst);
    assert!(stuck < BUFFERS, "a client could send {stuck} bytes that nobody read");
    let grown = server.rss().saturating_sub(before);
    assert!(grown < COST, "what passes costs {grown} bytes");
    gate.push("");
    assert_eq!(slow.response().text(), "true", "and it goes on when the backend does");
    thread.join().unwrap();
}

fn many_slow_clients_cost_a_bounded_amount(io: Io) {
    const CLIENTS: usize = 200;
    let (_, origin) = flood();
    let server = proxy(io, &origin, "");
    crate::stage::get(&server, "/warm", "");
    let before = server.rss();
    let mut peers: Vec<_> = (0..CLIENTS)
        .map(|_| Peer::connect_from(server.address, None, Some(4096)).unwrap())
        .collect();
    for peer in &mut peers {
        peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    for peer in &mut peers {
        assert_eq!(peer.head().status, 200);
    }
    let grown = server.rss().saturating_sub(before) as usize;
    // One receive each at most is in our hands; the kernel's buffers are not our memory.
    let allowed = CLIENTS * 192 * 1024;
    assert!(grown < allowed, "{CLIENTS} slow clients cost {grown} bytes, allowed {allowed}");
    drop(peers);
    origin.await_open(0);
}

fn a_slow_client_of_a_shared_stream_slows_nobody(io: Io) {
    const EVENTS: usize = 3000;
    let gate = crate::common::tape::Tape::new();
    let opens = Arc::clone(&gate);
    let origin = Origin::start(move |call| {
        call.send(STREAM);
        for n in 0..EVENTS {
            // In step with the client that reads: it never lags.
            if opens.wait(n / 50, call).is_none() {
                return Next::Close;
            }
            let data = format!("{n} ").repeat(2000 / (n.to_string().len() + 1));
            call.send(format!("id: {n}\ndata: {data}\n\n"));
        }
        call.hold()
    });
    let more = "lag_bytes_max = \"256KiB\"\nevent_bytes_max = \"16KiB\"\nlag_policy = \"skip\"\n\
                history_bytes_max = \"256KiB\"";
    let server = share(io, &origin, "/e", more);
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let peer = Peer::connect_from(server.address, None, Some(4096)).unwrap();
            Stream::try_at(peer, "/s", "").unwrap_or_else(|r| panic!("{r:?}"))
        })
        .collect();
    let mut fast = Stream::at(&server, "/s", "");
    server.await_clients(11);
    gate.push("");
    let before = server.rss();
    for n in 0..EVENTS {
        let event = fast.event();
        assert!(event.data.starts_with(&format!("{n} ")), "{n} is missing");
        if n % 50 == 49 {
            gate.push("");
        }
    }
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 24 << 20, "laggards cost {grown} bytes");
    assert_eq!((slow.len(), origin.connections()), (10, 1));
}
