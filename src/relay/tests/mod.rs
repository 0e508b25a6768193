//! A relay between a client and a backend that are lists of bytes, on virtual time.

mod beats;
mod cuts;
mod faults;
mod framing;
mod retries;
mod streams;
mod timers;
mod upgrades;

use super::*;
use crate::http::forward;
use crate::http::forward::Hop;
use crate::http::h1::Framing;
use crate::http::h1::Head;
use crate::http::h1::response::ResponseItem;

pub(super) const GET: &str = "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";
pub(super) const POST: &str = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// A client, a relay, a backend.
pub(super) struct Pair {
    pub(super) relay: Relay,
    pub(super) to_client: Vec<u8>,
    pub(super) to_backend: Vec<u8>,
    /// What the relay did not take yet.
    pub(super) unread: Vec<u8>,
    pub(super) now: Moment,
    pub(super) step: Step,
    is_head: bool,
}

/// What somebody at the end of a connection understands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) interim: Vec<u16>,
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
    /// The message is complete, as far as it can be told.
    pub(super) is_whole: bool,
    /// Bytes that belong to nothing.
    pub(super) behind: Vec<u8>,
}

impl Seen {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} twice");
        first
    }
}

pub(super) fn owned<'f>(
    fields: impl Iterator<Item = (&'f str, &'f [u8])>,
) -> Vec<(String, String)> {
    fields.map(|(n, v)| (n.to_owned(), String::from_utf8_lossy(v).into_owned())).collect()
}

pub(super) fn plan_of(head: &Head) -> Plan {
    let hop = Hop {
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        is_tls: false,
        host: None,
        request_id: "7",
        framing: head.framing(),
        upgrade: true,
    };
    let fields = forward::request_fields(head, &hop);
    let accept = head.first("accept").unwrap_or_default();
    Plan {
        method: head.method_text().into(),
        target: head.path().into(),
        fields,
        framing: head.framing(),
        has_stray_body: head.has_stray_body(),
        to: To::request(head),
        takes_trailers: forward::accepts_trailers(head),
        upgrade: head.first("upgrade").map(Into::into),
        timers: Timers::default(),
        heartbeat: Duration::ZERO,
        changes: Vec::new(),
        cookie: None,
        retries: 0,
        is_event_source: accept == b"text/event-stream",
    }
}

/// The head of a request, and a decoder that stands behind it.
pub(super) fn head_of(request: &str) -> (Box<Head>, Decoder, &[u8]) {
    let (mut decoder, mut input) = (Decoder::new(), request.as_bytes());
    let limits = Limits::default().any_body();
    match decoder.decode(&mut input, &limits) {
        Ok(Item::Head(head)) => (head, decoder, input),
        other => panic!("{other:?}"),
    }
}

impl Pair {
    pub(super) fn new(request: &str) -> Self {
        Self::with(request, |_| {})
    }

    pub(super) fn with(request: &str, change: impl FnOnce(&mut Plan)) -> Self {
        let (head, decoder, rest) = head_of(request);
        let mut plan = plan_of(&head);
        change(&mut plan);
        let is_head = plan.to.is_head;
        let mut pair = Self {
            relay: Relay::new(plan, decoder, Moment::START),
            to_client: Vec::new(),
            to_backend: Vec::new(),
            unread: Vec::new(),
            now: Moment::START,
            step: Step::On,
            is_head,
        };
        pair.client(rest);
        pair
    }

    /// A pair whose backend is there.
    pub(super) fn connected(request: &str) -> Self {
        let mut pair = Self::new(request);
        pair.connect();
        pair
    }

    fn call(&mut self, call: impl FnOnce(&mut Relay, &mut &[u8], &At<'_>, &mut Out<'_>) -> Step) {
        let limits = Limits::default();
        let at = At { now: self.now, unix_millis: 0, limits: &limits };
        let unread = std::mem::take(&mut self.unread);
        let mut input = &unread[..];
        let mut out = Out { client: &mut self.to_client, backend: &mut self.to_backend };
        self.step = call(&mut self.relay, &mut input, &at, &mut out);
        self.unread = input.to_vec();
        assert_eq!(matches!(self.step, Step::Over(_)), self.relay.end().is_some());
    }

    /// Offers what is unread, as a worker does after every call.
    fn offer(&mut self) {
        if self.relay.wants_client_input() {
            self.call(|relay, input, at, out| relay.client_input(input, at, out));
        }
    }

    pub(super) fn client(&mut self, bytes: impl AsRef<[u8]>) {
        self.unread.extend_from_slice(bytes.as_ref());
        self.offer();
    }

    pub(super) fn connect(&mut self) {
        self.connect_on(false);
    }

    pub(super) fn connect_on(&mut self, pooled: bool) {
        self.to_backend.clear();
        self.call(|relay, _, at, out| relay.connected(pooled, at, out));
        self.offer();
    }

    pub(super) fn fail(&mut self, cause: Cause) {
        self.call(|relay, _, at, out| relay.attempt_failed(cause, at, out));
    }

    pub(super) fn backend(&mut self, bytes: impl AsRef<[u8]>) {
        self.call(|relay, _, at, out| relay.backend_input(bytes.as_ref(), at, out));
        if self.step == Step::On {
            self.offer();
        }
    }

    pub(super) fn backend_ends(&mut self, how: Lost) {
        self.call(|relay, _, at, out| relay.backend_ended(how, at, out));
    }

    /// Lets time pass, with a call at each deadline.
    pub(super) fn pass(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(due) = self.relay.deadline().filter(|due| *due <= end) {
            assert!(due >= self.now || self.step == Step::On, "a deadline that does not go away");
            self.now = due.max(self.now);
            self.call(|relay, _, at, out| relay.expire(at, out));
            if self.step == Step::Retry {
                return;
            }
        }
        self.now = end;
    }

    /// What the client understands of what it got.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        let mut decoder = ResponseDecoder::new();
        decoder.expect(self.is_head);
        let mut input = &self.to_client[..];
        loop {
            match decoder.decode(&mut input, &Limits::default()).expect("we write no faults") {
                ResponseItem::Interim(head) => seen.interim.push(head.status()),
                ResponseItem::Head(head) => {
                    seen.status = head.status();
                    seen.fields = owned(head.fields());
                }
                ResponseItem::Body(bytes) => seen.body.extend_from_slice(bytes),
                ResponseItem::Trailers(fields) => seen.trailers = owned(fields.iter()),
                ResponseItem::End => {
                    seen.is_whole = true;
                    break;
                }
                ResponseItem::Wait => {
                    let closed = self.relay.end().is_some();
                    let reset = self.relay.client_next() == ClientNext::Reset;
                    let clean = decoder.end() == crate::http::h1::response::Ending::Clean;
                    seen.is_whole = closed && clean && !reset;
                    break;
                }
                ResponseItem::Tunnel => {
                    seen.is_whole = true;
                    break;
                }
            }
        }
        seen.behind = input.to_vec();
        seen
    }

    /// The request that the backend understands: head, body, and whether it is whole.
    pub(super) fn asked(&self) -> (String, Vec<(String, String)>, Vec<u8>, bool) {
        let (mut decoder, mut input) = (Decoder::new(), &self.to_backend[..]);
        let limits = Limits::default().any_body();
        let (mut line, mut fields, mut body) = (String::new(), Vec::new(), Vec::new());
        loop {
            match decoder.decode(&mut input, &limits).expect("we write no faults") {
                Item::Head(head) => {
                    line = format!("{} {} {:?}", head.method_text(), head.path(), head.framing());
                    fields = owned(head.fields());
                }
                Item::Body(bytes) => body.extend_from_slice(bytes),
                Item::End => {
                    assert_eq!(input, b"", "bytes behind the request");
                    return (line, fields, body, true);
                }
                Item::Wait => return (line, fields, body, false),
            }
        }
    }

    pub(super) fn end(&self) -> Option<End> {
        self.relay.end()
    }

    pub(super) fn next(&self) -> ClientNext {
        self.relay.client_next()
    }
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_request_goes_out_and_its_response_comes_back() {
    let mut pair = Pair::connected(POST);
    pair.client("hello");
    let (line, fields, body, whole) = pair.asked();
    assert_eq!(line, format!("POST /a {:?}", Framing::Sized(5)));
    assert_eq!(fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("host")).count(), 1);
    assert_eq!((&body[..], whole), (&b"hello"[..], true));
    pair.backend(OK);
    let seen = pair.seen();
    assert_eq!((seen.status, &seen.body[..], seen.is_whole), (200, &b"hi"[..], true));
    assert_eq!((pair.end(), pair.next()), (Some(End::Completed), ClientNext::Keep));
    assert!(pair.relay.backend_reusable());
    assert!(pair.relay.into_decoder().is_some());
}

#[test]
fn a_mirror_has_no_body_and_no_end_of_its_own() {
    let plan = |request: &str| plan_of(&head_of(request).0);
    let copy = plan(GET).mirror().expect("a plain request is copied");
    assert!(!copy.to.keep_alive && copy.retries == 0 && copy.target == plan(GET).target);
    let mut relay = Relay::new(copy, Decoder::new(), Moment::START);
    let (limits, mut client, mut backend) = (Limits::default(), Vec::new(), Vec::new());
    let at = At { now: Moment::START, unix_millis: 0, limits: &limits };
    let mut out = Out { client: &mut client, backend: &mut backend };
    assert_eq!(relay.connected(false, &at, &mut out), Step::On);
    assert!(!relay.wants_client_input());
    assert_eq!(relay.backend_input(OK.as_bytes(), &at, &mut out), Step::Over(End::Completed));
    assert!(relay.backend_reusable() && backend.starts_with(b"GET /a"));
    assert!(plan(POST).mirror().is_none());
    let stream = "GET / HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n";
    assert!(plan(stream).mirror().is_none());
}

#[test]
fn secrets_stay_out_of_debug() {
    let request = "GET /?token=geheim HTTP/1.1\r\nHost: h\r\nAuthorization: geheim\r\n\r\n";
    let text = format!("{:?} {:?}", plan_of(&head_of(request).0), Pair::new(request).relay);
    assert!(!text.contains("geheim") && !text.contains("103, 101, 104"), "{text}");
}
