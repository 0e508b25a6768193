//! Any cut of the input gives the same output, and no input makes a session panic.

use super::*;
use proptest::prelude::*;

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /nowhere?x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /.well-known/mercure HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\n\r\n",
    "OPTIONS /.well-known/mercure HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\n\
     Access-Control-Request-Method: POST\r\n\r\n",
    "PUT /.well-known/mercure HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    "POST /.well-known/mercure HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\
     Content-Type: application/x-www-form-urlencoded\r\n\r\ntopic=a&data=1",
    "POST /.well-known/mercure HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
     Content-Type: application/x-www-form-urlencoded\r\n\r\n5\r\ntopic\r\n2;x=y\r\n=b\r\n0\r\n\r\n",
    "POST /.well-known/mercure HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\
     Content-Type: application/x-www-form-urlencoded\r\n\r\ntopic=a",
    "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\ntopic=a",
    "GET /.well-known/mercure?topic=a&lastEventID=zzz HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nbad field\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
];

fn world() -> World {
    World::open(|hub| hub.cors_origins = vec!["https://a.example".into()])
}

/// Everything that can be seen of a session that got these pieces.
fn run<'i>(world: &World, pieces: impl Iterator<Item = &'i [u8]>) -> (Vec<u8>, String) {
    let (mut session, mut out) = (world.session(), Vec::new());
    for piece in pieces {
        match world.feed(&mut session, piece, &mut out) {
            Next::Read => {}
            next => return (out, format!("{next:?} {}", world.site.channel().tail())),
        }
    }
    let last = format!("Read {} {}", session.is_idle(), world.site.channel().tail());
    (out, last)
}

fn pieces<'i>(input: &'i [u8], cuts: &[usize]) -> Vec<&'i [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([input.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(from, to)| &input[from..to]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_output(
        requests in proptest::collection::vec(proptest::sample::select(REQUESTS), 1..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
    ) {
        let input = requests.concat().into_bytes();
        let whole = run(&world(), [&input[..]].into_iter());
        prop_assert_eq!(&run(&world(), pieces(&input, &cuts).into_iter()), &whole);
        prop_assert_eq!(&run(&world(), input.chunks(1)), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(
        requests in proptest::collection::vec(proptest::sample::select(REQUESTS), 1..4),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..12),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut input = requests.concat().into_bytes();
        for (at, byte) in changes {
            let at = at % input.len();
            input[at] = byte;
        }
        let whole = run(&world(), [&input[..]].into_iter());
        prop_assert_eq!(run(&world(), pieces(&input, &cuts).into_iter()), whole);
    }

    #[test]
    fn noise_neither(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
        run(&world(), [&noise[..]].into_iter());
    }

    #[test]
    fn forms_and_queries_neither(
        form in proptest::collection::vec(any::<u8>(), 0..200),
        query in "[ -~&&[^ #]]{0,100}",
        cursor in "[^\u{0}-\u{1f}\u{7f}]{0,40}",
    ) {
        let world = world();
        let mut post = format!(
            "POST /.well-known/mercure HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\ntopic=a&",
            form.len() + 8
        ).into_bytes();
        post.extend_from_slice(&form);
        run(&world, [&post[..]].into_iter());
        let get = format!(
            "GET /.well-known/mercure?topic=a&{query} HTTP/1.1\r\nHost: h\r\n\
             Last-Event-ID: {cursor}\r\n\r\n"
        );
        run(&world, [get.as_bytes()].into_iter());
    }
}
