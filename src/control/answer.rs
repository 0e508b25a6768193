//! What admin HTTP answers: a request's bytes to a response's bytes, without I/O.
//!
//! Invariants: one request to a connection, so nothing after its head matters and framing cannot
//! be played with. Only GET and HEAD exist, and neither changes anything.

use super::desk::Desk;
use crate::base::phase::Phase;
use crate::base::phase::PhaseFlag;
use crate::base::sync::Arc;
use crate::metrics::Counters;
use crate::metrics::Gauge;
use crate::metrics::Process;
use crate::metrics::render;
use crate::metrics::render::MEDIA_TYPE;
use std::rc::Rc;

/// What the answers are made from.
pub(super) struct Site {
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) process: Process,
    pub(super) sample: super::Sample,
    pub(super) upstreams: super::Upstreams,
    pub(super) desk: Rc<Desk>,
    pub(super) phase: Arc<PhaseFlag>,
}

/// Bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "tidegate admin\n\n\
    /metrics    Prometheus metrics\n\
    /live       200 while the process runs\n\
    /ready      200 while it serves, else 503\n\
    /backends   names and endpoints of backends\n\
    /upstreams  upstream event streams\n";

impl Site {
    /// Counts endpoints, which no worker does.
    fn sample_backends(&self) {
        let Desk { backends, recorder, clock, .. } = &*self.desk;
        let states = backends.snapshot(clock.now());
        let endpoints = || states.iter().flat_map(|backend| &backend.endpoints);
        let out = endpoints().filter(|e| e.is_out()).count();
        recorder.set(Gauge::BackendEndpoints, endpoints().count() as u64);
        recorder.set(Gauge::BackendEndpointsOut, out as u64);
    }
}

struct Answer {
    status: &'static str,
    media_type: &'static str,
    body: String,
}

impl Answer {
    fn text(status: &'static str, body: &str) -> Self {
        Self { status, media_type: TEXT, body: body.to_owned() }
    }
}

/// Whether `input` holds a whole head.
pub(super) fn complete(input: &[u8]) -> bool {
    // RFC 9112 2.2: a lone LF may end a line.
    input.windows(4).any(|w| w == b"\r\n\r\n") || input.windows(2).any(|w| w == b"\n\n")
}

/// The response to a request of which `input` is the head, whole or cut at its limit.
pub(super) fn answer(input: &[u8], site: &Site) -> Vec<u8> {
    let line = input.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|b| *b == b' ');
    let (method, target) = (words.next(), words.next());
    let version = words.next().filter(|_| words.next().is_none());
    let known = matches!(version, Some(b"HTTP/1.1" | b"HTTP/1.0"));
    let answer = match (method, target) {
        (Some(_), Some(target)) if known && !target.is_empty() => {
            if complete(input) {
                respond(method.unwrap_or_default(), target, site)
            } else {
                Answer::text("431 Request Header Fields Too Large", "Head too large.\n")
            }
        }
        _ => Answer::text("400 Bad Request", "Not an HTTP/1 request.\n"),
    };
    encode(&answer, method == Some(b"HEAD"))
}

fn respond(method: &[u8], target: &[u8], site: &Site) -> Answer {
    if !matches!(method, b"GET" | b"HEAD") {
        return Answer::text("405 Method Not Allowed", "Only GET and HEAD.\n");
    }
    match target.split(|b| *b == b'?').next().unwrap_or_default() {
        b"/" => Answer::text("200 OK", INDEX),
        b"/metrics" => {
            (site.sample)(&site.desk.recorder);
            site.sample_backends();
            Answer {
                status: "200 OK",
                media_type: MEDIA_TYPE,
                body: render(&site.counters, &site.process, site.phase.now()),
            }
        }
        b"/live" => Answer::text("200 OK", "live\n"),
        b"/ready" => {
            let phase = site.phase.now();
            let status = if phase == Phase::Serving { "200 OK" } else { "503 Service Unavailable" };
            Answer::text(status, &format!("{}\n", phase.name()))
        }
        b"/backends" => Answer::text("200 OK", &site.desk.backends.report(site.desk.clock.now())),
        b"/upstreams" => Answer::text("200 OK", &(site.upstreams)()),
        _ => Answer::text("404 Not Found", "See / for what there is.\n"),
    }
}

fn encode(answer: &Answer, head_only: bool) -> Vec<u8> {
    let Answer { status, media_type, body } = answer;
    // RFC 9110 10.2.1: a 405 names what is allowed.
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut out = head.into_bytes();
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(phase: Phase) -> Site {
        let desk = Desk::sample(&["10.0.0.1", "api.test"]);
        let flag = PhaseFlag::new();
        flag.advance(phase);
        Site {
            counters: vec![desk.recorder.counters()],
            process: Process::default(),
            sample: Box::new(|r| r.set(Gauge::HistoryEvents, 7)),
            upstreams: Box::new(|| "upstream=prices\n".into()),
            desk: Rc::new(desk),
            phase: Arc::new(flag),
        }
    }

    fn ask(request: &str, phase: Phase) -> String {
        String::from_utf8(answer(request.as_bytes(), &site(phase))).unwrap()
    }

    #[test]
    fn every_path_has_its_status() {
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "200"),
            ("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
            ("GET /live HTTP/1.0\n\n", "200"),
            ("GET /ready HTTP/1.1\r\n\r\n", "200"),
            ("GET /backends HTTP/1.1\r\n\r\n", "200"),
            ("GET /upstreams HTTP/1.1\r\n\r\n", "200"),
            ("GET /nowhere HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics HTTP/2.0\r\n\r\n", "400"),
            ("GET  /metrics HTTP/1.1\r\n\r\n", "400"),
            ("GET /metrics\r\n\r\n", "400"),
            ("\u{16}\u{3}\u{1}\r\n\r\n", "400"),
            ("\r\n\r\n", "400"),
            ("", "400"),
            ("GET / HTTP/1.1\r\nA: cut", "431"),
        ] {
            let got = ask(request, Phase::Serving);
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {got}");
            let (head, body) = got.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{got}");
        }
    }

    #[test]
    fn ready_follows_the_phase_and_live_does_not() {
        for phase in Phase::ALL {
            let ready = ask("GET /ready HTTP/1.1\r\n\r\n", phase);
            assert_eq!(ready.contains(" 200 "), phase == Phase::Serving);
            assert!(ready.ends_with(&format!("\r\n\r\n{}\n", phase.name())));
            assert!(ask("GET /live HTTP/1.1\r\n\r\n", phase).contains(" 200 "));
        }
    }

    #[test]
    fn a_scrape_samples_first() {
        let got = ask("GET /metrics HTTP/1.1\r\n\r\n", Phase::Serving);
        assert!(got.contains("\ntidegate_history_events 7\n"));
        assert!(got.contains("\ntidegate_backend_endpoints 1\n"));
        assert!(got.contains("\ntidegate_backend_endpoints_out 0\n"));
    }

    #[test]
    fn backends_and_upstreams_are_told() {
        let got = ask("GET /backends HTTP/1.1\r\n\r\n", Phase::Serving);
        let (_, body) = got.split_once("\r\n\r\n").unwrap();
        assert!(body.starts_with("backend=api name=api.test:80 addresses=0 lookup=pending\n"));
        assert!(body.contains("\nbackend=api endpoint=10.0.0.1:80 state=serving "), "{body}");
        let got = ask("GET /upstreams HTTP/1.1\r\n\r\n", Phase::Serving);
        assert!(got.ends_with("\r\n\r\nupstream=prices\n"));
        let index = ask("GET / HTTP/1.1\r\n\r\n", Phase::Serving);
        assert!(index.contains("/backends") && index.contains("/upstreams"));
    }

    #[test]
    fn head_has_the_length_and_no_body() {
        let got = ask("HEAD /live HTTP/1.1\r\n\r\n", Phase::Serving);
        assert!(got.contains("Content-Length: 5\r\n") && got.ends_with("\r\n\r\n"));
    }
}
