//! What a client gets first, what it gets after a pause, and what it is told if events are gone.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::stream::Stream;
use crate::common::tape::Tape;
use crate::stage::share;

crate::on_both_drivers!(
    initial_gives_the_newest,
    a_client_that_was_away_for_too_long_is_told,
    resuming_while_events_flow_has_no_seam,
    a_client_that_lags_is_closed_and_resumes,
    a_client_that_lags_skips_behind_a_gap,
    a_client_that_lags_gets_the_newest_of_each_channel,
    age_ends_a_connection_and_nothing_is_lost,
);

fn initial_gives_the_newest(io: Io) {
    for (initial, want) in [("\"none\"", vec![]), ("1", vec![9]), ("4", vec![6, 7, 8, 9])] {
        let tape = Tape::counting(10);
        let origin = Origin::start(tape.player());
        let more = format!("linger = \"10m\"\ninitial = {initial}");
        let server = share(io, &origin, "/e", &more);
        let first = Stream::at(&server, "/s", "");
        server.await_metric("tidegate_upstream_events_total", "", 10.0);
        let mut stream = Stream::at(&server, "/s", "");
        server.await_clients(2);
        tape.push("live");
        for n in want {
            assert_eq!(stream.data(), n.to_string(), "initial = {initial}");
        }
        assert_eq!(stream.data(), "live", "initial = {initial}");
        drop(first);
    }
}

fn a_client_that_was_away_for_too_long_is_told(io: Io) {
    let tape = Tape::counting(30);
    let origin = Origin::start(tape.player());
    let more = "history_events_max = 10\ngap_event = \"lost\"\ninitial = 10";
    let server = share(io, &origin, "/e", more);
    let _holds = Stream::at(&server, "/s", "");
    server.await_metric("tidegate_upstream_events_total", "", 30.0);
    let mut stream = Stream::at(&server, "/s", "Last-Event-ID: 3\r\n");
    let first = stream.event();
    assert_eq!(first.kind.as_deref(), Some("lost"), "{first:?}");
    let next: usize = stream.data().parse().unwrap();
    assert!(next > 4, "what is kept follows: {next}");
    for n in next + 1..30 {
        assert_eq!(stream.data(), n.to_string());
    }
    let mut stream = Stream::at(&server, "/s", "Last-Event-ID: 25\r\n");
    assert_eq!(stream.data(), "26", "what is kept is no gap");
}

fn resuming_while_events_flow_has_no_seam(io: Io) {
    const EVENTS: usize = 2000;
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let more = "linger = \"10m\"\nhistory_events_max = 10000\ninitial = 10000";
    let server = share(io, &origin, "/e", more);
    let mut stream = Stream::at(&server, "/s", "");
    std::thread::scope(|scope| {
        let tape = &tape;
        scope.spawn(move || {
            (0..EVENTS).for_each(|n| {
                tape.push(n.to_string());
                if n % 20 == 0 {
                    std::thread::yield_now();
                }
            });
        });
        let mut next = 0;
        while next < EVENTS {
            // Leaves after a few events, and comes back.
            let stay = (next % 37 + 1).min(EVENTS - next);
            let mut last = String::new();
            for _ in 0..stay {
                let event = stream.event();
                assert_eq!(event.data, next.to_string(), "at the seam");
                last = event.id.unwrap();
                next += 1;
            }
            stream = Stream::at(&server, "/s", &format!("Last-Event-ID: {last}\r\n"));
        }
    });
    assert_eq!(origin.connections(), 1);
}

fn body(n: usize) -> String {
    format!("{n} {}", format!("{:02}", n % 100).repeat(1500))
}

fn number(data: &str) -> usize {
    let n = data.split(' ').next().unwrap().parse().unwrap();
    assert!(data == body(n), "event {n} is torn");
    n
}

/// Pushes until the policy strikes; returns how many events that took.
fn push_until_lagged(server: &crate::common::server::Server, tape: &Tape, policy: &str) -> usize {
    let labels = format!("policy=\"{policy}\"");
    let mut reader = Stream::at(server, "/s", "");
    for n in 0..12_000 {
        tape.push(body(n));
        assert_eq!(number(&reader.data()), n, "who reads is not held up");
        if n % 50 == 49 && server.metric("tidegate_lag_actions_total", &labels) > 0.0 {
            return n + 1;
        }
    }
    panic!("nobody lagged");
}

const LAG: &str = "lag_bytes_max = \"128KiB\"\nevent_bytes_max = \"64KiB\"\ngap_event = \"lost\"\n\
                   history_events_max = 100000\nhistory_bytes_max = \"256MiB\"\n\
                   history_total_bytes_max = \"256MiB\"\n";

fn a_client_that_lags_is_closed_and_resumes(io: Io) {
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/e", &format!("{LAG}lag_policy = \"close\""));
    let peer = Peer::connect_from(server.address, None, Some(4096)).unwrap();
    let mut slow = Stream::try_at(peer, "/s", "").unwrap_or_else(|r| panic!("{r:?}"));
    let count = push_until_lagged(&server, &tape, "close");
    let mut next = 0;
    while let Some(event) = slow.try_event() {
        assert_eq!(number(&event.data), next, "whatever came is a prefix");
        next += 1;
    }
    assert!(next < count, "it was ended early");
    let id = next.checked_sub(1).map_or("earliest".to_owned(), |n| n.to_string());
    let mut again = Stream::at(&server, "/s", &format!("Last-Event-ID: {id}\r\n"));
    for n in next..count {
        assert_eq!(number(&again.data()), n, "after the resume");
    }
    assert_eq!(origin.connections(), 1, "the upstream does not notice");
}

fn a_client_that_lags_skips_behind_a_gap(io: Io) {
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/e", &format!("{LAG}lag_policy = \"skip\""));
    let peer = Peer::connect_from(server.address, None, Some(4096)).unwrap();
    let mut slow = Stream::try_at(peer, "/s", "").unwrap_or_else(|r| panic!("{r:?}"));
    let count = push_until_lagged(&server, &tape, "skip");
    tape.push(body(count));
    let (mut next, mut gaps) = (0, 0);
    loop {
        let event = slow.event();
        if event.kind.as_deref() == Some("lost") {
            gaps += 1;
            continue;
        }
        let n = number(&event.data);
        assert!(n == next || (n > next && gaps > 0), "{next} is missing, unannounced");
        next = n + 1;
        if n == count {
            break;
        }
    }
    assert!(gaps > 0, "no gap event");
}

fn a_client_that_lags_gets_the_newest_of_each_channel(io: Io) {
    let tapes = [Tape::new(), Tape::new()];
    let players = tapes.clone();
    let origin = Origin::start(move |call| {
        let second = usize::from(call.asked.path() == "/e/b");
        std::sync::Arc::clone(&players[second]).play(call)
    });
    let more = format!("{LAG}lag_policy = \"latest\"\nmultiplex = true");
    let server = share(io, &origin, "/e/{channel}", &more);
    let target = "/s?channel=a&channel=b";
    let peer = Peer::connect_from(server.address, None, Some(4096)).unwrap();
    let mut slow = Stream::try_at(peer, target, "").unwrap_or_else(|r| panic!("{r:?}"));
    let mut reader = Stream::at(&server, target, "");
    let mut count = 0;
    while server.metric("tidegate_lag_actions_total", "policy=\"latest\"") < 0.5 {
        assert!(count < 12_000, "nobody lagged");
        for _ in 0..50 {
            tapes[count % 2].push(body(count));
            assert_eq!(number(&reader.data()), count, "who reads is not held up");
            count += 1;
        }
    }
    let mut seen = Vec::new();
    while !(seen.contains(&(count - 1)) && seen.contains(&(count - 2))) {
        let event = slow.event();
        if event.kind.as_deref() != Some("lost") {
            seen.push(number(&event.data));
        }
    }
    assert!(seen.len() < count, "some were left out");
    for channel in 0..2 {
        assert!(seen.iter().filter(|n| *n % 2 == channel).is_sorted(), "each in its order");
    }
    tapes[1].push(body(count + 1));
    assert_eq!(number(&slow.data()), count + 1, "and live from there");
}

fn age_ends_a_connection_and_nothing_is_lost(io: Io) {
    let tape = Tape::counting(5);
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/e", "age_max = \"300ms\"\ninitial = 100");
    let mut stream = Stream::at(&server, "/s", "");
    let mut next = 0;
    for _ in 0..3 {
        let mut last = None;
        while let Some(event) = stream.try_event() {
            assert_eq!(event.data, next.to_string());
            last = event.id;
            next += 1;
        }
        assert!(!stream.is_cut, "ended inside an event");
        tape.push(next.to_string());
        let fields = last.map(|id| format!("Last-Event-ID: {id}\r\n"));
        let known = fields.unwrap_or_else(|| format!("Last-Event-ID: {}\r\n", next - 1));
        stream = Stream::at(&server, "/s", &known);
    }
    assert_eq!(stream.data(), next.to_string());
    assert_eq!(origin.connections(), 1);
}
