//! What is compared: each row is one kind of work, its cases are who does it, its bars are what
//! Tidegate promises.

use crate::servers::Server;
use serde_json::Value;

/// One server doing one work.
pub(crate) struct Case {
    pub(crate) label: &'static str,
    pub(crate) server: Server,
    /// Arguments of the load generator besides URLs.
    pub(crate) load: String,
}

/// A figure read from a report.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) read: fn(&Value) -> Option<f64>,
}

/// A promise: a figure of one case, alone or over that of another, against a bound.
pub(crate) struct Bar {
    pub(crate) figure: usize,
    pub(crate) of: &'static str,
    pub(crate) over: Option<&'static str>,
    pub(crate) bound: f64,
    pub(crate) at_most: bool,
}

/// One kind of work.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) cases: Vec<Case>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) bars: Vec<Bar>,
}

fn at(report: &Value, path: &str) -> Option<f64> {
    report.pointer(path)?.as_f64()
}

const CPU: Figure =
    Figure { name: "CPU/delivery µs", read: |report| at(report, "/cost/cpu_us_per_delivery") };
const RATE: Figure =
    Figure { name: "delivered/s", read: |report| at(report, "/deliveries/per_second") };
const P99: Figure =
    Figure { name: "p99 ms", read: |report| at(report, "/deliveries/latency/p99_ms") };
const LAST: Figure = Figure {
    name: "last sub. ms",
    read: |report| at(report, "/deliveries/last_subscriber/p50_ms"),
};
/// Missing, doubled, out of order and foreign events, and refused clients, together.
const FAULTS: Figure = Figure {
    name: "faults",
    read: |report| {
        let faults = report.get("faults")?.as_object()?;
        let sum: f64 = faults.values().filter_map(Value::as_f64).sum();
        let lost = at(report, "/connects/refused")? + at(report, "/connects/ended")?;
        Some(sum + lost)
    },
};
const BYTES_EACH: Figure =
    Figure { name: "B/subscriber", read: |report| at(report, "/cost/bytes_per_subscriber") };
const BYTES_RATE: Figure =
    Figure { name: "MB/s", read: |report| Some(at(report, "/deliveries/bytes_per_second")? / 1e6) };
const GROWTH: Figure = Figure {
    name: "RSS growth MiB",
    read: |report| {
        let peak = at(report, "/cost/resident_peak")?;
        Some((peak - at(report, "/cost/resident_empty")?) / (1024.0 * 1024.0))
    },
};
const SWEEP: Figure = Figure { name: "sweep ms", read: |report| at(report, "/probe/sweep_ms") };
const ANSWER: Figure =
    Figure { name: "answer p99 ms", read: |report| at(report, "/probe/answers/p99_ms") };
const ANSWER_RATIO: Figure =
    Figure { name: "answer/sweep", read: |report| at(report, "/probe/p99_over_sweep") };
const CPU_PUBLISH: Figure =
    Figure { name: "CPU/publish µs", read: |report| at(report, "/cost/cpu_us_per_publish") };
/// Server CPU per publish in the last third of the run over that in the first.
const GROWS: Figure = Figure {
    name: "last/first third",
    read: |report| {
        let slices = report.get("slices")?.as_array()?;
        let third = slices.len() / 3;
        let sum = |part: &[Value]| -> Option<f64> {
            part.iter().map(|slice| at(slice, "/cpu_us_per_publish")).sum()
        };
        let (first, last) = (slices.get(..third)?, slices.get(slices.len() - third..)?);
        Some(sum(last)? / sum(first)?)
    },
};

const URING: Server = Server::Tidegate("uring");
const EPOLL: Server = Server::Tidegate("epoll");

fn case(label: &'static str, server: Server, load: impl Into<String>) -> Case {
    Case { label, server, load: load.into() }
}

fn bar(figure: usize, of: &'static str, over: Option<&'static str>, at_most: f64) -> Bar {
    Bar { figure, of, over, bound: at_most, at_most: true }
}

fn least(figure: usize, of: &'static str, over: Option<&'static str>, at_least: f64) -> Bar {
    Bar { figure, of, over, bound: at_least, at_most: false }
}

/// Every row.
pub(crate) fn all() -> Vec<Row> {
    vec![
        paced("paced5", "5,000 subscribers × 100 B at 5 events/s", 5, true),
        paced("paced20", "5,000 subscribers × 100 B at 20 events/s", 20, false),
        fanout(),
        saturated(),
        few(),
        idle(),
        idle_own(),
        own_cost(),
        topics(),
        resume(),
        sweep(),
    ]
}

fn paced(name: &'static str, what: &'static str, rate: u32, nchan: bool) -> Row {
    let load = format!("-n 5000 --rate {rate} --duration 8");
    let mut bars = vec![
        bar(0, "tidegate-uring", Some("limit-uring"), 1.15),
        bar(0, "tidegate-epoll", Some("limit-epoll"), 1.15),
    ];
    if nchan {
        bars.push(bar(0, "tidegate-uring", Some("nchan"), 0.75));
    }
    bars.push(bar(4, "tidegate-uring", None, 0.0));
    Row {
        name,
        what,
        cases: vec![
            case("limit-uring", Server::Limit("uring", false), &load),
            case("tidegate-uring", URING, &load),
            case("limit-epoll", Server::Limit("epoll", false), &load),
            case("tidegate-epoll", EPOLL, &load),
            case("nchan", Server::Nchan, &load),
            case("axum", Server::Axum, &load),
        ],
        figures: vec![CPU, RATE, P99, LAST, FAULTS],
        bars,
    }
}

fn fanout() -> Row {
    let load = "-n 10000 --rate 20 --duration 8";
    Row {
        name: "fanout",
        what: "10,000 subscribers × 100 B at 20 events/s: one upstream stream against the hub",
        cases: vec![
            case("hub-uring", URING, load),
            case("fanout-uring", Server::Fanout("uring"), load),
            case("hub-epoll", EPOLL, load),
            case("fanout-epoll", Server::Fanout("epoll"), load),
        ],
        figures: vec![CPU, RATE, P99, FAULTS],
        bars: vec![
            bar(0, "fanout-uring", Some("hub-uring"), 1.05),
            bar(0, "fanout-epoll", Some("hub-epoll"), 1.05),
            bar(3, "fanout-uring", None, 0.0),
        ],
    }
}

fn everyone(load: &str) -> Vec<Case> {
    vec![
        case("tidegate-uring", URING, load),
        case("tidegate-epoll", EPOLL, load),
        case("nchan", Server::Nchan, load),
        case("axum", Server::Axum, load),
    ]
}

fn saturated() -> Row {
    Row {
        name: "saturated",
        what: "5,000 subscribers, 1,000 events/s offered for 6 s",
        cases: everyone("-n 5000 --rate 1000 --duration 6 --limit 60"),
        figures: vec![RATE, CPU, P99, FAULTS],
        bars: vec![
            least(0, "tidegate-uring", Some("nchan"), 25.0),
            bar(3, "tidegate-uring", None, 0.0),
        ],
    }
}

fn few() -> Row {
    Row {
        name: "few",
        what: "100 subscribers, 20,000 events/s offered for 6 s",
        cases: everyone("-n 100 --rate 20000 --duration 6 --pipeline 256 --limit 60"),
        figures: vec![RATE, CPU, P99, FAULTS],
        bars: vec![
            least(0, "tidegate-uring", Some("nchan"), 3.0),
            bar(3, "tidegate-uring", None, 0.0),
        ],
    }
}

fn idle() -> Row {
    let load = "-n 18000 --baseline 2000 --events 0 --settle 1";
    Row {
        name: "idle",
        what: "growth of server memory from 2,000 to 18,000 idle subscribers",
        cases: everyone(load),
        figures: vec![BYTES_EACH, FAULTS],
        bars: vec![bar(0, "tidegate-uring", None, 200.0), bar(0, "tidegate-epoll", None, 200.0)],
    }
}

fn idle_own() -> Row {
    let load = "-n 18000 --baseline 2000 --events 0 --settle 1 --topics /common --topics /own/{n}";
    Row {
        name: "idle-own",
        what: "the same, each with a topic of its own besides a common one",
        cases: vec![case("tidegate-uring", URING, load), case("tidegate-epoll", EPOLL, load)],
        figures: vec![BYTES_EACH, FAULTS],
        bars: vec![bar(0, "tidegate-uring", None, 900.0), bar(0, "tidegate-epoll", None, 900.0)],
    }
}

fn own_cost() -> Row {
    let shared = "-n 18000 --rate 3 --duration 8 --topics /common";
    let own = "-n 18000 --rate 3 --duration 8 --topics /common --topics /own/{n}";
    Row {
        name: "own-cost",
        what: "one event on the common topic of 18,000: feeds of their own against the shared feed",
        cases: vec![
            case("uring-shared", URING, shared),
            case("uring-own", URING, own),
            case("epoll-shared", EPOLL, shared),
            case("epoll-own", EPOLL, own),
        ],
        figures: vec![CPU, LAST, FAULTS],
        bars: vec![
            bar(0, "uring-own", Some("uring-shared"), 1.4),
            bar(0, "epoll-own", Some("epoll-shared"), 1.4),
            bar(2, "uring-own", None, 0.0),
        ],
    }
}

fn topics() -> Row {
    let load = |subscribers: u32, topics: u32| {
        let stride = topics / subscribers;
        format!(
            "-n {subscribers} --stride {stride} --topic-count {topics} --topics /t/{{n}} \
             --publish-topic /t/{{t}} --rate 0 --events 1000000 --slices 12 --limit 120"
        )
    };
    Row {
        name: "topics",
        what: "1,000,000 events to 1,000,000 topics, one subscriber per 100th topic",
        cases: vec![
            case("uring-1M-10000", URING, load(10_000, 1_000_000)),
            case("uring-1M-100", URING, load(100, 1_000_000)),
            case("uring-10k-100", URING, load(100, 10_000)),
            case("uring-all-kept", Server::Remembering("uring"), load(10_000, 1_000_000)),
        ],
        figures: vec![CPU_PUBLISH, GROWS, FAULTS],
        bars: vec![
            bar(1, "uring-1M-10000", None, 1.3),
            bar(0, "uring-1M-10000", Some("uring-1M-100"), 1.3),
            bar(1, "uring-all-kept", None, 1.3),
            bar(2, "uring-1M-10000", None, 0.0),
        ],
    }
}

fn resume() -> Row {
    let load = "-n 15000 --resume 1000 --grace 10 --limit 120";
    Row {
        name: "resume",
        what: "15,000 subscribers resume at once, 1,000 events of 100 B behind",
        cases: vec![
            case("limit-uring", Server::Limit("uring", true), load),
            case("tidegate-uring", URING, load),
            case("limit-epoll", Server::Limit("epoll", true), load),
            case("tidegate-epoll", EPOLL, load),
        ],
        figures: vec![BYTES_RATE, GROWTH, FAULTS],
        bars: vec![
            least(0, "tidegate-uring", Some("limit-uring"), 0.6),
            bar(1, "tidegate-uring", None, 64.0),
            bar(2, "tidegate-uring", None, 0.0),
        ],
    }
}

fn sweep() -> Row {
    let load = "-n 15000 --rate 3 --duration 10 --probe-rate 200";
    Row {
        name: "sweep",
        what: "publishes answered while 15,000 subscribers are swept",
        cases: vec![case("tidegate-uring", URING, load), case("tidegate-epoll", EPOLL, load)],
        figures: vec![ANSWER_RATIO, ANSWER, SWEEP, FAULTS],
        bars: vec![bar(0, "tidegate-uring", None, 0.1), bar(0, "tidegate-epoll", None, 0.1)],
    }
}
