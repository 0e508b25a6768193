//! The Python SDKs of OpenAI and Anthropic: deltas come one by one, an end is an end and a cut is
//! an error, the backend learns at once that a client has left, errors pass as they are.

use crate::backend::Backend;
use crate::gateway::Gateway;
use crate::program::Found;
use crate::program::Program;
use crate::program::await_objects;
use crate::program::results;
use crate::stream::piece;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// An SDK, the gateway, the backend.
struct Scene {
    kind: &'static str,
    python: Found,
    gateway: Gateway,
    backend: Backend,
}

impl Scene {
    fn args<'a>(&self, url: &'a str, args: &[&'a str]) -> Vec<&'a str> {
        [&[self.kind, url], args].concat()
    }

    fn start(&self, args: &[&str]) -> crate::process::Process {
        self.python.start("llm.py", &self.args(&self.gateway.url(), args))
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Vec<Value> {
        results(&self.start(args).outcome())
    }
}

/// Makes two tests of each scenario: one SDK on the driver that the machine prefers, one on epoll.
macro_rules! with_both_sdks {
    ($($scenario:ident),* $(,)?) => {
        $(mod $scenario {
            #[test]
            fn openai() {
                super::set(concat!(stringify!($scenario), "::openai"), "openai", super::$scenario);
            }
            #[test]
            fn anthropic() {
                let name = concat!(stringify!($scenario), "::anthropic");
                super::set(name, "anthropic", super::$scenario);
            }
        })*
    };
}

with_both_sdks!(
    deltas_arrive_as_they_are_written,
    no_delta_waits_for_the_next,
    a_cut_stream_is_an_error,
    errors_pass_as_they_are,
    the_backend_learns_that_a_client_leaves_a_lively_stream,
    the_backend_learns_that_a_client_leaves_a_silent_stream,
    the_backend_learns_that_a_client_gives_up,
    fifty_streams_at_once,
);

fn set(test: &str, kind: &'static str, scenario: fn(&Scene)) {
    let Some(python) = Program::Python.find(test) else { return };
    let backend = Backend::new();
    let gateway = Gateway::to(backend.address, if kind == "openai" { "auto" } else { "epoll" });
    scenario(&Scene { kind, python, gateway, backend });
}

fn text(count: usize) -> String {
    (0..count).map(piece).collect()
}

fn time(nanoseconds: &Value) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds.as_u64().unwrap())
}

fn deltas_arrive_as_they_are_written(scene: &Scene) {
    let said = scene.run(&["read", "paced:20:30"]);
    let (end, deltas) = said.split_last().unwrap();
    assert_eq!(*end, json!({ "end": text(20) }));
    let came: Vec<_> = deltas.iter().map(|delta| time(&delta["at"])).collect();
    let exchange = scene.backend.exchange();
    assert_eq!((came.len(), exchange.wrote.len()), (20, 20));
    assert!(came[0] < exchange.wrote[19], "the first delta came after the last was written");
    let spread = |times: &[SystemTime]| times[19].duration_since(times[0]).unwrap();
    let (came, wrote) = (spread(&came), spread(&exchange.wrote));
    assert!(came >= wrote / 2, "written over {wrote:?}, but they came within {came:?}");
    assert_eq!(exchange.gone, None);
    // What the SDK says passes, and it did come through the gateway.
    assert!(exchange.field("user-agent").is_some_and(|agent| agent.contains("Python")));
    assert!(exchange.field("accept-encoding").is_some_and(|codings| codings.contains("gzip")));
    assert_eq!(exchange.field("x-forwarded-for"), Some("127.0.0.1"));
}

fn no_delta_waits_for_the_next(scene: &Scene) {
    let mut client = scene.start(&["read", "stepped:8"]);
    for number in 0..8 {
        scene.backend.step();
        await_objects(&mut client, number + 1, |object| object["delta"].is_string());
    }
    assert_eq!(results(&client.outcome()).last(), Some(&json!({ "end": text(8) })));
}

fn a_cut_stream_is_an_error(scene: &Scene) {
    let said = scene.run(&["read", "cut:3"]);
    let end = said.last().unwrap();
    assert!(end["error"].is_string(), "it looks like a good end: {end}");
    // What had arrived before is not lost.
    assert_eq!((said.len(), &end["text"]), (4, &json!(text(3))));
}

fn errors_pass_as_they_are(scene: &Scene) {
    for (status, name, kind) in [
        (429, "RateLimitError", "rate_limit_error"),
        (529, "APIStatusError", "overloaded_error"),
        (400, "BadRequestError", "invalid_request_error"),
    ] {
        let said = scene.run(&["read", &format!("status:{status}")]);
        let error = said.last().unwrap();
        let lineage = error["lineage"].as_array().unwrap();
        assert!(lineage.contains(&json!(name)), "{error}");
        assert_eq!(error["status"], status, "{error}");
        assert_eq!((&error["retry_after"], &error["request"]), (&json!("7"), &json!("req_1")));
        // One SDK gives the whole body, the other the object in it.
        let body = error["body"].get("error").unwrap_or(&error["body"]);
        assert_eq!((&body["type"], &body["message"]), (&json!(kind), &json!("no, é")), "{error}");
        assert!(scene.backend.exchange().wrote.is_empty());
        assert_eq!(scene.backend.more(), 0, "the gateway asked again");
    }
}

/// How often a client leaves.
const TRIES: usize = 10;

/// From the moment before the client closes to the moment after the backend has seen it. The best
/// of some, because the machine has other work; but none may take so long that it was a timer.
#[track_caller]
fn the_backend_hears_of_it_soon(scene: &Scene, said: &[Value]) {
    let left: Vec<_> = said.iter().filter(|object| object["left"].is_u64()).collect();
    assert_eq!(left.len(), TRIES);
    let took = |left: &Value| {
        let gone = scene.backend.exchange().gone.expect("the backend saw no end");
        gone.duration_since(time(&left["left"])).unwrap_or_default()
    };
    let took: Vec<_> = left.into_iter().map(took).collect();
    assert!(took.iter().min() <= Some(&Duration::from_millis(50)), "{took:?}");
    assert!(took.iter().max() <= Some(&Duration::from_secs(2)), "{took:?}");
}

fn the_backend_learns_that_a_client_leaves_a_lively_stream(scene: &Scene) {
    let said = scene.run(&["leave", "endless:20", &TRIES.to_string()]);
    assert_eq!(said[0]["seen"], json!([piece(0), piece(1)]));
    the_backend_hears_of_it_soon(scene, &said);
}

/// Nothing is under way that could fail: only the end itself tells.
fn the_backend_learns_that_a_client_leaves_a_silent_stream(scene: &Scene) {
    let said = scene.run(&["leave", "silent:2", &TRIES.to_string()]);
    the_backend_hears_of_it_soon(scene, &said);
}

/// Before the head of an answer. What the client tells is the moment after it closed.
fn the_backend_learns_that_a_client_gives_up(scene: &Scene) {
    let said = scene.run(&["impatient", &TRIES.to_string()]);
    the_backend_hears_of_it_soon(scene, &said);
}

/// The backend goes on with none of them before all have begun.
fn fifty_streams_at_once(scene: &Scene) {
    let said = scene.run(&["crowd", "gathered:50:20", "50"]);
    assert_eq!(said.len(), 50);
    assert!(said.iter().all(|object| *object == json!({ "end": text(20) })), "{said:?}");
    let whole = (0..50).map(|_| scene.backend.exchange()).filter(|e| e.gone.is_none()).count();
    assert_eq!(whole, 50);
}
