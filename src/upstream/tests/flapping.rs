//! Upstreams that flap at random: a scripted server with a history that replays after
//! `Last-Event-ID`, cut at any byte, failing in every way. Whatever happens, each event arrives
//! once and in order, and attempts keep their pace.

use super::stage::Stage;
use super::stage::below;
use super::stage::framed;
use super::*;
use crate::base::chance::Chance;

const SEEDS: u64 = 300;
const EVENTS: usize = 40;

/// The bytes of the events after number `after`, in some form that a server may choose.
fn body(after: usize, chance: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    for n in after + 1..=EVENTS {
        let end = ["\n", "\r\n", "\r"][below(chance, 3)];
        if chance.one_in(3) {
            out.extend_from_slice(format!(": ping{end}").as_bytes());
        }
        if chance.one_in(9) {
            out.extend_from_slice(format!("retry: {}{end}", 100 + chance.below(900)).as_bytes());
        }
        let text = format!("id: {n}{end}data: event{end}data:{n}{end}{end}");
        out.extend_from_slice(text.as_bytes());
        if chance.one_in(12) {
            return out;
        }
    }
    out
}

/// One connection's fate.
fn meet(stage: &mut Stage, chance: &mut Chance) {
    let after = stage.asked_after().map_or(0, |id| id.parse().unwrap());
    let done = stage.store.seen.iter().filter(|(_, id, _)| id.is_some()).count();
    assert_eq!(after, done, "the upstream is asked for what is missing, and nothing else");
    match chance.below(9) {
        0 => drop(stage.end(false)),
        1 => drop(stage.fail(Cause::Tls)),
        2 => drop(stage.receive("HTTP/1.1 503 No\r\nRetry-After: 2\r\n\r\n")),
        3 => drop(stage.receive("HTTP/1.1 302 Go\r\nLocation: /s/b\r\n\r\n")),
        4 => drop(stage.receive("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")),
        5 => drop(stage.wait()),
        _ => {
            let how = below(chance, 3);
            let bytes = framed(&body(after, chance), how, 1 + below(chance, 40));
            let cut = if chance.one_in(2) { 0 } else { below(chance, bytes.len()) };
            let mut rest = &bytes[..bytes.len() - cut];
            let mut step = Step::Wait;
            while !rest.is_empty() && step == Step::Wait {
                let (head, tail) = rest.split_at(1 + below(chance, rest.len()));
                stage.pass(Duration::from_millis(chance.below(300)));
                (rest, step) = (tail, stage.receive(head));
            }
            if step == Step::Wait {
                stage.end(chance.one_in(2));
            }
        }
    }
}

#[test]
fn a_flapping_upstream_loses_and_doubles_nothing() {
    for seed in 0..SEEDS {
        let mut chance = Chance::new(seed);
        let mut stage = Stage::new(&definition(), None);
        stage.chance = Chance::new(seed ^ 1);
        stage.store.full_every = [0, 2, 5][below(&mut chance, 3)];
        for _ in 0..4000 {
            let following = stage.source.deadline() == Some(stage.now);
            let waited = stage.connect();
            let bounds = definition().backoff_min..=Duration::from_secs(30) + SPREAD;
            assert!(following || bounds.contains(&waited), "seed {seed}: {waited:?}");
            meet(&mut stage, &mut chance);
            if stage.store.seen.len() >= EVENTS {
                break;
            }
        }
        let ids: Vec<_> = stage.store.seen.iter().map(|(_, id, _)| id.clone().unwrap()).collect();
        let want: Vec<_> = (1..=EVENTS).map(|n| n.to_string()).collect();
        assert_eq!(ids, want, "seed {seed}");
        let data = stage.store.seen.iter().enumerate();
        assert!(data.into_iter().all(|(n, (_, _, data))| *data == format!("event\n{}", n + 1)));
        let health = stage.source.tap().board.read(stage.now);
        assert_eq!(health.events, EVENTS as u64, "seed {seed}");
    }
}
