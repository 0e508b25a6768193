//! What keeps requests with, and away from, an endpoint: affinity and probes.
//!
//! Invariants: the statuses of a probe are a range that is not empty.

use crate::config::form;
use crate::config::gateway::Affinity;
use crate::config::gateway::Health;
use crate::config::gateway::bounds;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::value::Kind;
use std::time::Duration;

pub(crate) static AFFINITY: Shape<Affinity> = Shape {
    title: "`affinity` of a backend",
    nouns: &["affinity"],
    blank: || Affinity { cookie: String::new(), max_age: Duration::ZERO },
    rows: &[
        value(
            "cookie",
            Kind::Text(&form::COOKIE),
            "The name of our cookie.",
            |a: &mut Affinity| &mut a.cookie,
        )
        .required(),
        value(
            "max_age",
            bounds::span_or_zero(1000, 365 * bounds::DAY, "until the browser closes"),
            "Its life.",
            |a: &mut Affinity| &mut a.max_age,
        ),
    ],
};

const STATUSES: &str = "a list of two statuses from 100 to 599, as [200, 399]";

pub(crate) static HEALTH: Shape<Health> = Shape {
    title: "`health` of a backend",
    nouns: &["health"],
    blank: || Health {
        path: "/".to_owned(),
        host: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        healthy: 1,
        unhealthy: 3,
        statuses: (200, 399),
    },
    rows: &[
        value(
            "path",
            Kind::Text(&form::TARGET),
            "The path that is asked for.",
            |h: &mut Health| &mut h.path,
        ),
        value(
            "host",
            Kind::Text(&form::AUTHORITY),
            "The `Host` that is asked for.",
            |h: &mut Health| &mut h.host,
        )
        .default("the endpoint's"),
        value(
            "interval",
            bounds::span(10, bounds::HOUR),
            "From one probe to the next.",
            |h: &mut Health| &mut h.interval,
        ),
        value(
            "timeout",
            bounds::span(10, bounds::HOUR),
            "How long an answer may take.",
            |h: &mut Health| &mut h.timeout,
        ),
        value(
            "healthy",
            bounds::number(1, 100),
            "Successes in a row that make an endpoint healthy.",
            |h: &mut Health| &mut h.healthy,
        ),
        value(
            "unhealthy",
            bounds::number(1, 100),
            "Failures in a row that make it unhealthy.",
            |h: &mut Health| &mut h.unhealthy,
        ),
        parts(
            "statuses",
            STATUSES,
            "Statuses that are a success: the first and the last.",
            statuses,
            |h, _| Some(format!("[{}, {}]", h.statuses.0, h.statuses.1)),
        ),
    ],
};

fn statuses(health: &mut Health, node: &Node<'_>, reader: &mut Reader<'_>) {
    let before = reader.problems();
    let Some(items) = reader.items(node, 2, STATUSES) else { return };
    let kind = bounds::number(100, 599);
    let numbers: Vec<u16> = items
        .iter()
        .filter_map(|item| reader.number(item, kind))
        .filter_map(|number| u16::try_from(number).ok())
        .collect();
    match numbers[..] {
        [first, last] if first <= last => health.statuses = (first, last),
        _ if reader.problems() > before => {}
        _ => reader.form(node, STATUSES),
    }
}
