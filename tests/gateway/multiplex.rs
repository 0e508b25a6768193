//! Several channels merged into one stream: ids carry the position of each, and resuming is exact.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::server::Server;
use crate::common::stream::Event;
use crate::common::stream::Stream;
use crate::common::tape::Tape;
use crate::stage::get;
use crate::stage::share;
use crate::stage::upstream;
use std::sync::Arc;

crate::on_both_drivers!(
    channels_merge_and_resume_exactly,
    a_merged_stream_outlives_each_of_its_upstreams,
    types_are_prefixed,
    a_route_may_name_the_channels,
    odd_numbers_of_channels,
    a_refused_channel_is_left_out,
    merged_and_single_clients_share_connections,
);

/// Plays a tape for each of these channels, at `/e/NAME`.
fn player(names: &[&str]) -> (Vec<Arc<Tape>>, Origin) {
    let tapes: Vec<_> = names.iter().map(|_| Tape::new()).collect();
    let all: Vec<_> = names.iter().map(|name| format!("/e/{name}")).zip(tapes.clone()).collect();
    let origin =
        Origin::start(move |call| match all.iter().find(|(path, _)| path == call.asked.path()) {
            Some((_, tape)) => Arc::clone(tape).play(call),
            None => call.respond(404, "", ""),
        });
    (tapes, origin)
}

const MERGED: &str = "multiplex = true\nlinger = \"10m\"\ninitial = 1000";

fn channels_merge_and_resume_exactly(io: Io) {
    let (tapes, origin) = player(&["a", "b", "c"]);
    let server = share(io, &origin, "/e/{channel}", MERGED);
    let mut stream = Stream::at(&server, "/s?channel=a&channel=b", "");
    origin.await_asked(2);
    for n in 0..20 {
        tapes[[0, 1, 1][n % 3]].push(n.to_string());
    }
    let all: Vec<Event> = (0..20).map(|_| stream.event()).collect();
    for of in [[0].as_slice(), &[1, 2]] {
        let ours = (0..20).filter(|n| of.contains(&(n % 3))).map(|n| n.to_string());
        let theirs = all.iter().map(|event| event.data.clone());
        let theirs: Vec<_> =
            theirs.filter(|d| of.contains(&(d.parse::<usize>().unwrap() % 3))).collect();
        assert_eq!(theirs, ours.collect::<Vec<_>>(), "each channel in its order");
    }
    let mut ids: Vec<_> = all.iter().map(|event| event.id.clone().unwrap()).collect();
    for (n, id) in ids.iter().enumerate() {
        let fields = format!("Last-Event-ID: {id}\r\n");
        let mut again = Stream::at(&server, "/s?channel=a&channel=b", &fields);
        for event in &all[n + 1..] {
            assert_eq!(again.event(), *event, "from event {n} on");
        }
        // The same position holds for a part of the channels.
        let mut part = Stream::at(&server, "/s?channel=b", &fields);
        for event in all[n + 1..].iter().filter(|e| e.data.parse::<usize>().unwrap() % 3 > 0) {
            assert_eq!(part.event().data, event.data, "from event {n} on, of b alone");
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert_eq!(origin.connections(), 2, "c was never asked for");
}

fn a_merged_stream_outlives_each_of_its_upstreams(io: Io) {
    let (tapes, origin) = player(&["a", "b"]);
    let server = share(io, &origin, "/e/{channel}", MERGED);
    let mut stream = Stream::at(&server, "/s?channel=a&channel=b", "");
    let mut seen = [0, 0];
    for round in 0..5 {
        origin.await_open(2);
        for n in 0..4 {
            tapes[n % 2].push(format!("{} {}", n % 2, round * 2 + n / 2));
        }
        for _ in 0..4 {
            let data = stream.data();
            let (channel, n) = data.split_once(' ').unwrap();
            let channel: usize = channel.parse().unwrap();
            assert_eq!(n.parse::<usize>().unwrap(), seen[channel], "channel {channel}");
            seen[channel] += 1;
        }
        let before = origin.connections();
        origin.cut_all();
        eventually("both are back", || (origin.connections() == before + 2).then_some(()));
    }
}

fn types_are_prefixed(io: Io) {
    let origin = Origin::start(|call| {
        call.send(crate::common::tape::STREAM);
        call.send("event: tick\ndata: 1\n\ndata: 2\n\n");
        call.hold()
    });
    let more = format!("{MERGED}\nprefix_types = true");
    let server = share(io, &origin, "/e/{channel}", &more);
    let mut stream = Stream::at(&server, "/s?channel=a%3Ab&channel=%C3%A9", "");
    let mut kinds: Vec<_> = (0..4).map(|_| stream.event().kind.unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["a:b:message", "a:b:tick", "é:message", "é:tick"]);
}

fn a_route_may_name_the_channels(io: Io) {
    let (tapes, origin) = player(&["a", "b", "c"]);
    let settings = format!(
        "{}[[route]]\npath = \"/s\"\nupstream = \"u\"\nchannels = [\"a\", \"c\"]\n",
        upstream(&origin, "/e/{channel}", MERGED)
    );
    let server = Server::start(io, &settings);
    let mut stream = Stream::at(&server, "/s?channel=b", "");
    origin.await_asked(2);
    for (tape, name) in tapes.iter().zip(["a", "b", "c"]) {
        tape.push(name);
    }
    let mut got = [stream.data(), stream.data()];
    got.sort_unstable();
    assert_eq!(got, ["a", "c"]);
    let mut paths: Vec<_> = origin.asked().into_iter().map(|asked| asked.target).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/e/a", "/e/c"]);
}

fn odd_numbers_of_channels(io: Io) {
    let (tapes, origin) = player(&["a", "b"]);
    let more = format!("{MERGED}\nchannels_per_client_max = 3\nchannels_max = 2");
    let server = share(io, &origin, "/e/{channel}", &more);
    for none in ["/s", "/s?channel=", "/s?channel"] {
        assert_eq!(get(&server, none, "").status, 400, "no channel: {none}");
    }
    let four = get(&server, "/s?channel=a&channel=b&channel=c&channel=d", "");
    assert_eq!(four.status, 400, "too many for one client");
    assert_eq!(get(&server, "/s?channel=..", "").status, 400, "leads out of the path");
    let mut twice = Stream::at(&server, "/s?channel=a&channel=a", "");
    origin.await_asked(1);
    tapes[0].push("once");
    tapes[0].push("end");
    assert_eq!([twice.data(), twice.data()], ["once", "end"]);
    let _both = Stream::at(&server, "/s?channel=a&channel=b", "");
    origin.await_asked(2);
    let mut refused = Stream::at(&server, "/s?channel=a&channel=c", "");
    assert_eq!(refused.try_event(), None, "no room for another channel");
    server.await_metric("tidegate_soft_refusals_total", "", 1.0);
}

fn a_refused_channel_is_left_out(io: Io) {
    let (tapes, origin) = player(&["a", "b"]);
    let server = share(io, &origin, "/e/{channel}", MERGED);
    tapes[0].push("first");
    // The first client may have been let in before the refusal came: then it is sent away.
    let target = "/s?channel=a&channel=nope";
    let mut stream = Stream::at(&server, target, "");
    let mut got = Vec::new();
    while let Some(event) = stream.try_event() {
        got.push(event);
        if got.len() == 1 {
            tapes[0].push("second");
        }
        if got.len() == 2 {
            break;
        }
    }
    let last = got.last().and_then(|event| event.id.clone());
    let fields = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    tapes[0].push("end");
    let mut again = Stream::at(&server, target, &fields);
    while again.data() != "end" {}
    eventually("alone it is refused", || {
        (get(&server, "/s?channel=nope", "").status == 404).then_some(())
    });
    let refused = origin.asked().iter().filter(|asked| asked.path() == "/e/nope").count();
    assert_eq!(refused, 1, "asked once, and remembered");
}

fn merged_and_single_clients_share_connections(io: Io) {
    let (tapes, origin) = player(&["a", "b"]);
    let server = share(io, &origin, "/e/{channel}", MERGED);
    let queries = ["a", "b", "a&channel=b", "b&channel=a"];
    let mut streams: Vec<_> = (0..40)
        .map(|n| (n % 4, Stream::at(&server, &format!("/s?channel={}", queries[n % 4]), "")))
        .collect();
    server.await_clients(40);
    (0..10).for_each(|n| tapes[n % 2].push(format!("{}{n}", ["a", "b"][n % 2])));
    for (query, stream) in &mut streams {
        let count = if *query < 2 { 5 } else { 10 };
        let mut got: Vec<_> = (0..count).map(|_| stream.data()).collect();
        got.sort_by_key(|data| data[1..].parse::<usize>().unwrap());
        let want = (0..10).map(|n| format!("{}{n}", ["a", "b"][n % 2]));
        let want: Vec<_> = want.filter(|d| count == 10 || d.starts_with(queries[*query])).collect();
        assert_eq!(got, want, "{}", queries[*query]);
    }
    assert_eq!(origin.connections(), 2);
}
