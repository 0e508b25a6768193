//! A session with bytes in hand: every row of the protocol, and any cut of the input.

mod channels;
mod connection;
mod cors;
mod cuts;
mod fanout;
mod passing;
mod publish;
mod resuming;
mod routes;
mod sharing;
mod subscribe;
mod tokens;

use super::Arrival;
use super::At;
use super::Next;
use super::Session;
use super::Site;
use super::Subscribe;
use super::upstream_limits;
use crate::auth::testing::sign_text;
use crate::base::map::Hasher;
use crate::base::phase::Phase;
use crate::base::phase::PhaseFlag;
use crate::base::redact::Secret;
use crate::base::sync::Arc;
use crate::base::time::Moment;
use crate::config::Config;
use crate::config::Hub;
use crate::config::gateway::Nothing;
use crate::config::toml;
use crate::log::Channel;
use crate::log::Limits;
use crate::metrics::Recorder;
use crate::upstream::Tap;
use std::cell::RefCell;

const KEY: &str = "!ChangeThisMercureHubJWTSecretKey!";
const UNIX_MILLIS: u64 = 1_800_000_000_000;
const EPOCH: u64 = 0x0123_4567_89ab_cdef;

/// A site with its counters and clock.
struct World {
    site: Site,
    phase: Arc<PhaseFlag>,
    recorder: Recorder,
    opened: RefCell<Vec<Arc<Tap>>>,
    now: Moment,
    unix_millis: u64,
    seed: u64,
}

/// An answer taken apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
    next: Next,
}

impl World {
    /// A hub without keys, with this changed.
    fn open(change: impl FnOnce(&mut Hub)) -> Self {
        let mut config = Config::default();
        change(&mut config.hub);
        Self::of(config)
    }

    /// A site with this configuration.
    fn toml(text: &str) -> Self {
        Self::of(config(text))
    }

    fn of(config: Config) -> Self {
        let limits = Limits {
            events_max: config.hub.history_events_max,
            bytes_max: config.hub.history_bytes_max,
            age_max_millis: u64::try_from(config.hub.history_age_max.as_millis()).unwrap(),
            backlog_bytes_max: u64::MAX,
            per_topic: None,
        };
        let phase = Arc::new(PhaseFlag::new());
        phase.advance(Phase::Serving);
        let channel = Arc::new(Channel::new(limits, EPOCH, Hasher::new(1)));
        let upstreams = config.gateway.upstreams.iter().map(|upstream| {
            Arc::new(Channel::new(upstream_limits(upstream, u64::MAX), EPOCH, Hasher::new(1)))
        });
        let upstreams = upstreams.collect();
        let site = Site::new(Arc::new(config), channel, Arc::clone(&phase));
        let site = site.with_upstreams(upstreams);
        let unix_millis = UNIX_MILLIS;
        let (recorder, opened) = (Recorder::new(), RefCell::default());
        Self { site, phase, recorder, opened, now: Moment::START, unix_millis, seed: 1 }
    }

    /// A hub with keys, with this changed.
    fn keyed(change: impl FnOnce(&mut Hub)) -> Self {
        Self::open(|hub| {
            hub.publisher_key = Some(Secret::new(KEY.to_owned()));
            hub.subscriber_key = Some(Secret::new(KEY.to_owned()));
            change(hub);
        })
    }

    fn at(&self) -> At<'_> {
        At {
            now: self.now,
            unix_millis: self.unix_millis,
            recorder: &self.recorder,
            seed: self.seed,
            arrival: Arrival { address: 0, peer: ([127, 0, 0, 1], 5).into(), worker: 0 },
            opened: &self.opened,
        }
    }

    fn session(&self) -> Session {
        Session::new(self.now, &self.site)
    }

    fn feed(&self, session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Next {
        session.handle(input, &self.site, &self.at(), out)
    }

    /// One request on a connection of its own; `lines` are joined by CRLF.
    fn ask(&self, lines: &[&str], body: &str) -> Answer {
        let mut request = lines.join("\r\n");
        request.push_str("\r\nHost: hub.example\r\n");
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let mut out = Vec::new();
        let next = self.feed(&mut self.session(), request.as_bytes(), &mut out);
        Answer::parse(out, next)
    }

    /// A GET of this path with these fields.
    fn path(&self, path: &str, fields: &[&str]) -> Answer {
        self.ask(&[&[format!("GET {path} HTTP/1.1").as_str()], fields].concat(), "")
    }

    fn get(&self, query: &str, fields: &[&str]) -> Answer {
        let line = format!("GET /.well-known/mercure{query} HTTP/1.1");
        self.ask(&[&[line.as_str()], fields].concat(), "")
    }

    fn post(&self, form: &str, fields: &[&str]) -> Answer {
        let first = [
            "POST /.well-known/mercure HTTP/1.1",
            "Content-Type: application/x-www-form-urlencoded;charset=UTF-8",
        ];
        self.ask(&[&first, fields].concat(), form)
    }

    /// Ids of the events that a subscriber would get from history.
    fn replay(&self, subscribe: &Subscribe) -> Vec<u64> {
        let channel = self.site.channel();
        let after = subscribe.after.expect("the subscriber asked for history");
        let page = channel.page(&subscribe.subscription, after, channel.tail(), usize::MAX);
        page.events.iter().map(|event| event.seq).collect()
    }
}

/// A configuration from its text.
fn config(text: &str) -> Config {
    let config = toml::load(text, &[], &Nothing);
    config.unwrap_or_else(|problems| panic!("{problems}"))
}

impl Answer {
    fn parse(out: Vec<u8>, next: Next) -> Self {
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned(), next }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().skip(1).filter_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        });
        let first = found.next();
        assert!(found.next().is_none(), "{name} stands once");
        first
    }

    fn subscribe(self) -> Subscribe {
        match self.next {
            Next::Subscribe(subscribe) => *subscribe,
            other => panic!("no stream but {other:?}: {} {}", self.head, self.body),
        }
    }
}

/// An `Authorization` field with a token that grants these.
fn bearer(publish: &[&str], subscribe: &[&str]) -> String {
    let claims = format!("{{\"mercure\":{{\"publish\":{publish:?},\"subscribe\":{subscribe:?}}}}}");
    format!("Authorization: Bearer {}", sign_text(KEY, &claims))
}
