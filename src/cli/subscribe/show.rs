//! What `tidegate subscribe` prints.
//!
//! Invariants: an event is written and flushed whole. In text form control characters are escaped,
//! so that a stream cannot drive the terminal; JSON carries the exact text. A note that cannot be
//! written is dropped: it must not end the subscription.

use crate::cli::client::Url;
use crate::sse::Event;
use crate::sse::Item;
use std::fmt;
use std::io;
use std::io::Write;

/// The two streams, and how many events are still wanted.
#[derive(Debug)]
pub(super) struct Output<W> {
    out: W,
    json: bool,
    quiet: bool,
    left: Option<u64>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(out: W, json: bool, quiet: bool, count: Option<u64>) -> Self {
        Self { out, json, quiet, left: count }
    }

    /// Whether all events that were asked for have been shown.
    pub(super) fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    /// Says something about the connection.
    pub(super) fn note(&self, text: fmt::Arguments<'_>) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// A stream opened: tells where it starts, and whether events are missing before that.
    pub(super) fn opened(&self, url: &Url, asked: &str, got: Option<&str>) {
        match got {
            _ if asked.is_empty() => self.note(format_args!("connected to {url}")),
            Some(got) if got != asked => self.note(format_args!(
                "connected to {url}; gap: the server no longer knows `{}`, events may be missing",
                escaped(asked)
            )),
            _ => self.note(format_args!("connected to {url}, after `{}`", escaped(asked))),
        }
    }

    /// Shows an item; answers whether it is an event.
    pub(super) fn show(&mut self, item: &Item<'_>) -> io::Result<bool> {
        match item {
            // An empty comment is a heartbeat.
            Item::Comment("") => Ok(false),
            Item::Comment(text) => {
                self.note(format_args!(": {}", escaped(text)));
                Ok(false)
            }
            Item::Event(event) => {
                let text = if self.json { json(event) } else { plain(event) };
                self.out.write_all(text.as_bytes())?;
                self.out.flush()?;
                self.left = self.left.map(|left| left.saturating_sub(1));
                Ok(true)
            }
        }
    }
}

fn json(event: &Event<'_>) -> String {
    let Event { kind, id, data } = event;
    let mut line = serde_json::json!({ "id": id, "type": kind, "data": data }).to_string();
    line.push('\n');
    line
}

/// The form of the stream itself, one field a line, a blank line after each event.
fn plain(event: &Event<'_>) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(&escaped(value));
        text.push('\n');
    };
    if event.kind != "message" {
        field("event", event.kind);
    }
    if !event.id.is_empty() {
        field("id", event.id);
    }
    for line in event.data.split('\n') {
        field("data", line);
    }
    text.push('\n');
    text
}

/// The text with control characters, tabs apart, as `\u{…}`.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: bool, event: Event<'_>) -> String {
        let mut output = Output::new(Vec::new(), json, true, Some(1));
        assert!(!output.show(&Item::Comment("x")).unwrap());
        assert!(!output.is_complete());
        assert!(output.show(&Item::Event(event)).unwrap());
        assert!(output.is_complete());
        String::from_utf8(output.out).unwrap()
    }

    #[test]
    fn text_is_one_field_a_line_and_drives_no_terminal() {
        let event = Event { kind: "t", id: "7", data: "a\n\x1b[2J\tb" };
        assert_eq!(shown(false, event), "event: t\nid: 7\ndata: a\ndata: \\u{1b}[2J\tb\n\n");
        let event = Event { kind: "message", id: "", data: "" };
        assert_eq!(shown(false, event), "data: \n\n");
    }

    #[test]
    fn json_is_exact() {
        let event = Event { kind: "t", id: "7", data: "a\n\x1b\"é" };
        let line = shown(true, event);
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value, serde_json::json!({ "id": "7", "type": "t", "data": "a\n\x1b\"é" }));
    }
}
