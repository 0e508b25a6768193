//! Upstreams that are cut at every byte: each event arrives once, whole, on the same client stream.

use crate::common::Io;
use crate::common::call::Call;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::stream::Stream;
use crate::common::tape::CHUNKED;
use crate::common::tape::STREAM;
use crate::common::tape::chunk;
use crate::stage::share;

crate::on_both_drivers!(
    cut_in_an_orderly_way_at_every_byte,
    reset_at_every_byte,
    a_cut_inside_an_event_asks_for_it_again,
);

const EVENTS: [&str; 3] =
    ["id: 0\ndata: a\ndata: b\n\n", "id: 1\nevent: x\ndata: c\n\n", "id: 2\ndata: d\n\n"];

/// The whole response from an event on.
fn response(kind: &str, from: usize) -> Vec<u8> {
    let text = EVENTS[from..].concat();
    match kind {
        "end" => format!("{STREAM}{text}").into_bytes(),
        "sized" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
            format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
        }
        _ => {
            let pieces = text.as_bytes().chunks(7).flat_map(chunk);
            [CHUNKED.as_bytes(), &pieces.collect::<Vec<_>>(), b"0\r\n\r\n"].concat()
        }
    }
}

/// The first connection for `/e/KIND/CUT` ends at that byte; the next ones are whole.
fn serve(call: &mut Call<'_>, end: Next) -> Next {
    let target = call.asked.target.clone();
    let mut words = target.split('/').skip(2);
    let (kind, cut) = (words.next().unwrap(), words.next().unwrap());
    let last = call.asked.field("last-event-id").map(|id| id.parse::<usize>().unwrap());
    let from = last.map_or(0, |id| id + 1);
    if call.before(|asked| asked.target == target) > 0 {
        let text = EVENTS[from..].concat();
        call.send(format!("{STREAM}{text}: end\n\n"));
        return call.hold();
    }
    call.send(&response(kind, from)[..cut.parse().unwrap()]);
    end
}

fn at_every_byte(io: Io, end: Next) {
    let origin = Origin::start(move |call| serve(call, end));
    let more = "initial = 100\nbackoff_min = \"1ms\"\nbackoff_max = \"2ms\"";
    let server = share(io, &origin, "/e{rest}", more);
    for kind in ["end", "sized", "chunks"] {
        let cuts = 0..=response(kind, 0).len();
        let open = |cut| Stream::at(&server, &format!("/s/{kind}/{cut}"), "");
        let mut streams: Vec<_> = cuts.map(open).collect();
        for (cut, stream) in streams.iter_mut().enumerate() {
            for (id, want) in ["a\nb", "c", "d"].iter().enumerate() {
                let event = stream.event();
                let got = (event.id.as_deref(), event.data.as_str());
                assert_eq!(got, (Some(id.to_string().as_str()), *want), "{kind} cut at {cut}");
                assert_eq!(event.kind.as_deref(), (id == 1).then_some("x"), "{kind} cut at {cut}");
            }
        }
        // Nothing came twice: the next thing on each stream is new.
        assert!(streams.iter_mut().all(|stream| stream.peer().held().is_empty()));
    }
}

fn cut_in_an_orderly_way_at_every_byte(io: Io) {
    at_every_byte(io, Next::Close);
}

fn reset_at_every_byte(io: Io) {
    at_every_byte(io, Next::Reset);
}

fn a_cut_inside_an_event_asks_for_it_again(io: Io) {
    let origin = Origin::start(|call| serve(call, Next::Close));
    let server = share(io, &origin, "/e{rest}", "initial = 100");
    let head = STREAM.len();
    let starts = [0, EVENTS[0].len(), EVENTS[0].len() + EVENTS[1].len()];
    for (done, start) in starts.into_iter().enumerate() {
        for inside in [0, 1, 5, EVENTS[done].len() - 1] {
            let target = format!("/s/end/{}", head + start + inside);
            let mut stream = Stream::at(&server, &target, "");
            assert_eq!(stream.ids(3), ["0", "1", "2"]);
            let path = format!("/e/end/{}", head + start + inside);
            let asked = origin.asked();
            let last = asked.iter().rfind(|asked| asked.path() == path).unwrap();
            let want = done.checked_sub(1).map(|id| id.to_string());
            assert_eq!(last.field("last-event-id"), want.as_deref(), "{done} {inside}");
        }
    }
}
