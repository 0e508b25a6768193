//! What the services write: each kind of stream in its own events, and their errors.
//!
//! Comments, events without data and names of no fame are strewn in: all must pass, and no SDK may
//! stumble over them.

use serde_json::Value;
use serde_json::json;

/// Whose stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    OpenAi,
    Anthropic,
    /// Events with ids, counted on from the last one that the client has.
    Plain(usize),
}

/// The text of a delta: different each time, and not plain ASCII.
pub(crate) fn piece(number: usize) -> String {
    format!("{number} é🌊\r\n\"\\\u{2028} ")
}

fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

fn chunk(delta: &Value, finish: &Value) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [choice],
    });
    format!("data: {body}\n\n")
}

impl Stream {
    /// By the request's target.
    pub(crate) fn of(head: &str) -> Self {
        let target = head.split(' ').nth(1).unwrap();
        let path = target.split('?').next().unwrap();
        match path {
            "/v1/chat/completions" => Self::OpenAi,
            "/v1/messages" => Self::Anthropic,
            "/events" => {
                let lower = head.to_ascii_lowercase();
                let last = lower.lines().find_map(|line| line.strip_prefix("last-event-id: "));
                Self::Plain(last.map_or(0, |id| id.parse::<usize>().unwrap() + 1))
            }
            _ => panic!("no such service: {target}"),
        }
    }

    /// What comes before the first delta.
    pub(crate) fn first(self) -> String {
        match self {
            Self::OpenAi => {
                format!(": hello\n\n{}", chunk(&json!({ "role": "assistant" }), &Value::Null))
            }
            Self::Anthropic => {
                let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
                let message = json!({
                    "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                    "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
                });
                let block = json!({ "type": "text", "text": "" });
                let start = json!({ "type": "message_start", "message": message });
                let open =
                    json!({ "type": "content_block_start", "index": 0, "content_block": block });
                let ping = json!({ "type": "ping" });
                format!(": hello\n\n{}{}{}", named(&start), named(&open), named(&ping))
            }
            Self::Plain(_) => ": hello\n\nretry: 50\n\n".to_owned(),
        }
    }

    /// A delta.
    pub(crate) fn delta(self, number: usize) -> String {
        let text = piece(number);
        match self {
            Self::OpenAi => format!("{}:\n\n", chunk(&json!({ "content": text }), &Value::Null)),
            Self::Anthropic => {
                let delta = json!({ "type": "text_delta", "text": text });
                let event = json!({ "type": "content_block_delta", "index": 0, "delta": delta });
                format!("{}{}", named(&event), named(&json!({ "type": "ping" })))
            }
            Self::Plain(first) => {
                let id = first + number;
                format!("id: {id}\ndata: event {id} é\ndata: 🌊\n\n")
            }
        }
    }

    /// What comes after the last delta.
    pub(crate) fn last(self) -> String {
        match self {
            Self::OpenAi => format!("{}data: [DONE]\n\n", chunk(&json!({}), &json!("stop"))),
            Self::Anthropic => {
                let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
                let usage = json!({ "output_tokens": 9 });
                let stop = json!({ "type": "content_block_stop", "index": 0 });
                let end = json!({ "type": "message_delta", "delta": delta, "usage": usage });
                let over = json!({ "type": "message_stop" });
                format!("{}{}{}", named(&stop), named(&end), named(&over))
            }
            Self::Plain(_) => ": the end\n\n".to_owned(),
        }
    }

    /// A whole answer that is an error.
    pub(crate) fn error(self, status: usize) -> String {
        let kind = match status {
            429 => "rate_limit_error",
            529 => "overloaded_error",
            _ => "invalid_request_error",
        };
        let error = json!({ "type": kind, "message": "no, é", "code": "c", "param": null });
        let body = json!({ "type": "error", "error": error, "request_id": "req_1" }).to_string();
        format!(
            "HTTP/1.1 {status} So It Is\r\nContent-Type: application/json\r\nRetry-After: 7\r\n\
             X-Request-Id: req_1\r\nRequest-Id: req_1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}
