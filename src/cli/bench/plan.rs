//! The checked plan of a run: what every thread and every process of the load generator works
//! from.
//!
//! Events are numbered from 0. Event `g` is due at `start + g / rate`, goes to topic `g % topics`,
//! and travels on publisher connection `g % publishers`. A subscriber sees **lanes**, within which
//! order is promised: one for each publisher connection when all events have one topic, else one.

use super::template::Template;
use super::template::UnknownPlaceholder;
use serde::Deserialize;
use serde::Serialize;
use std::net::SocketAddr;

/// Placeholders of subscribers' topics and URLs.
const SUBSCRIBER: &[&str] = &["n", "topic", "topics"];
/// Placeholders of publishes.
const PUBLISHER: &[&str] = &["t", "id", "topic", "data"];

/// What a run does. Sent to child processes as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Marks this run's records.
    pub run: u16,
    /// Where subscribers connect.
    pub subscribe_at: SocketAddr,
    /// `Host` of subscribers' requests.
    pub subscribe_host: String,
    /// Path and query of subscribers' requests, a template.
    pub subscribe_target: String,
    /// Topics of each subscriber, templates of `{n}`.
    pub topics: Vec<String>,
    /// Header fields of subscribers.
    pub subscribe_headers: Vec<String>,
    /// Where publishers connect.
    pub publish_at: SocketAddr,
    /// `Host` of publishers' requests.
    pub publish_host: String,
    /// Path and query of publishes, a template.
    pub publish_target: String,
    /// Topic of a publish, a template of `{t}`.
    pub publish_topic: String,
    /// Body of a publish, a template.
    pub body: String,
    /// Header fields of publishes.
    pub publish_headers: Vec<String>,
    /// Subscribers in all.
    pub subscribers: u32,
    /// Subscriber `i` has `{n}` = `i × stride`.
    pub stride: u64,
    /// Events go round so many topics.
    pub topic_count: u64,
    /// Whether subscribers get every event, or only those of topic `{n}`.
    pub every_event: bool,
    /// Events in all.
    pub events: u64,
    /// Events per second; 0: as fast as answers come.
    pub rate: f64,
    /// Bytes of data.
    pub size: usize,
    /// Publisher connections.
    pub publishers: u32,
    /// Unanswered publishes that a connection may have.
    pub pipeline: usize,
    /// Subscriber threads of each process.
    pub threads: u32,
    /// Processes.
    pub processes: u32,
    /// Source addresses 127.0.0.1 and up, when the server is on loopback; 0: the kernel's choice.
    pub sources: u32,
    /// Connections being opened at once, in each thread.
    pub connecting_max: usize,
    /// Connect first, send all requests later.
    pub hold: bool,
}

impl Plan {
    /// When event `number` is due. With no rate, the moment it is made.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "events and nanoseconds of a run stay far below 2⁵³"
    )]
    pub fn due(&self, start: u64, number: u64) -> Option<u64> {
        (self.rate > 0.0).then(|| start + (number as f64 * 1e9 / self.rate) as u64)
    }

    /// Lanes of one subscriber.
    #[must_use]
    pub fn lanes(&self) -> u64 {
        if self.every_event { u64::from(self.publishers.max(1)) } else { 1 }
    }

    /// Lane of event `number` for subscriber `n`, and its place in the lane; `None` if the
    /// subscriber has not asked for it.
    #[must_use]
    pub fn place(&self, subscriber: u32, number: u64) -> Option<(u64, u64)> {
        if self.every_event {
            let lanes = self.lanes();
            return Some((number % lanes, number / lanes));
        }
        let topic = u64::from(subscriber) * self.stride;
        (number % self.topic_count == topic).then_some((0, number / self.topic_count))
    }

    /// Events that `subscriber` should have in `lane`, when each publisher connection has sent as
    /// many events as `sent` says.
    #[must_use]
    pub fn expected(&self, subscriber: u32, lane: usize, sent: &[u64]) -> u64 {
        if self.every_event {
            return sent.get(lane).copied().unwrap_or(0);
        }
        let first = u64::from(subscriber) * self.stride;
        sent.iter().sum::<u64>().saturating_sub(first).div_ceil(self.topic_count.max(1))
    }

    /// Deliveries that the sent events make in all, to the first `subscribers`.
    #[must_use]
    pub fn deliveries(&self, sent: &[u64], subscribers: u32) -> u64 {
        if self.every_event {
            return sent.iter().sum::<u64>().saturating_mul(u64::from(subscribers));
        }
        (0..subscribers).map(|subscriber| self.expected(subscriber, 0, sent)).sum()
    }

    /// The templates of this plan.
    ///
    /// # Errors
    /// One of them has an unknown placeholder.
    pub fn templates(&self) -> Result<Templates, UnknownPlaceholder> {
        Ok(Templates {
            subscribe_target: Template::parse(&self.subscribe_target, SUBSCRIBER)?,
            topics: (self.topics.iter())
                .map(|topic| Template::parse(topic, &["n"]))
                .collect::<Result<_, _>>()?,
            publish_target: Template::parse(&self.publish_target, PUBLISHER)?,
            publish_topic: Template::parse(&self.publish_topic, &["t"])?,
            body: Template::parse(&self.body, PUBLISHER)?,
        })
    }
}

/// A plan's templates, parsed.
#[derive(Clone, Debug)]
pub struct Templates {
    subscribe_target: Template,
    topics: Vec<Template>,
    /// Of a publish's path.
    pub publish_target: Template,
    /// Of a publish's topic.
    pub publish_topic: Template,
    /// Of a publish's body.
    pub body: Template,
}

impl Templates {
    /// The request of a subscriber.
    #[must_use]
    pub fn subscribe(&self, plan: &Plan, subscriber: u32) -> Vec<u8> {
        let n = (u64::from(subscriber) * plan.stride).to_string();
        let topics: Vec<_> = self.topics.iter().map(|t| encode(&t.with(&[("n", &n)]))).collect();
        let pairs: Vec<_> = topics.iter().map(|topic| format!("topic={topic}")).collect();
        let first = topics.first().map_or("", String::as_str);
        let target = self.subscribe_target.with(&[
            ("n", &n),
            ("topic", first),
            ("topics", &pairs.join("&")),
        ]);
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n",
            plan.subscribe_host
        );
        for header in &plan.subscribe_headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// A topic inside a query, a path or a form: reserved characters but `/` and `:` are escaped.
#[must_use]
pub fn encode(topic: &str) -> String {
    let mut out = String::with_capacity(topic.len());
    for byte in topic.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        let at = SocketAddr::from(([127, 0, 0, 1], 8080));
        Plan {
            run: 1,
            subscribe_at: at,
            subscribe_host: "h:8080".into(),
            subscribe_target: "/sub?{topics}".into(),
            topics: vec!["/common".into(), "/own/{n}".into()],
            subscribe_headers: vec!["X-Test: 1".into()],
            publish_at: at,
            publish_host: "h:8080".into(),
            publish_target: "/pub".into(),
            publish_topic: "/common".into(),
            body: "topic={topic}&data={data}".into(),
            publish_headers: Vec::new(),
            subscribers: 10,
            stride: 1,
            topic_count: 1,
            every_event: true,
            events: 100,
            rate: 10.0,
            size: 100,
            publishers: 1,
            pipeline: 8,
            threads: 1,
            processes: 1,
            sources: 0,
            connecting_max: 16,
            hold: false,
        }
    }

    #[test]
    fn writes_a_subscribers_request() {
        let plan = Plan { stride: 100, ..plan() };
        let request = plan.templates().unwrap().subscribe(&plan, 7);
        assert_eq!(
            String::from_utf8(request).unwrap(),
            "GET /sub?topic=/common&topic=/own/700 HTTP/1.1\r\nHost: h:8080\r\n\
             Accept: text/event-stream\r\nX-Test: 1\r\n\r\n"
        );
        assert_eq!(encode("/a b&ü"), "/a%20b%26%C3%BC");
    }

    /// Counting place by place gives what `expected` and `deliveries` say.
    #[test]
    fn places_and_expectations_agree() {
        for (every_event, publishers, topic_count, stride) in
            [(true, 1, 1, 1), (true, 3, 1, 1), (false, 1, 40, 4), (false, 1, 7, 1)]
        {
            let plan = Plan { every_event, publishers, topic_count, stride, ..plan() };
            for published in [0, 1, 39, 40, 41, 100] {
                let mut sum = 0;
                let sent: Vec<_> = (0..publishers)
                    .map(|p| {
                        let p = u64::from(p);
                        (0..published).filter(|g| g % u64::from(publishers) == p).count() as u64
                    })
                    .collect();
                for subscriber in 0..7 {
                    let mut seen = vec![0; usize::try_from(plan.lanes()).unwrap()];
                    for number in 0..published {
                        if let Some((lane, place)) = plan.place(subscriber, number) {
                            let seen = &mut seen[usize::try_from(lane).unwrap()];
                            assert_eq!(*seen, place);
                            *seen += 1;
                        }
                    }
                    for (lane, seen) in seen.iter().enumerate() {
                        assert_eq!(*seen, plan.expected(subscriber, lane, &sent));
                        sum += seen;
                    }
                }
                assert_eq!(plan.deliveries(&sent, 7), sum);
            }
        }
    }

    #[test]
    fn due_times_keep_the_rate() {
        let plan = Plan { rate: 20_000.0, ..plan() };
        assert_eq!(plan.due(1000, 20_000), Some(1_000_001_000));
        assert_eq!(Plan { rate: 0.0, ..plan }.due(1000, 5), None);
    }
}
