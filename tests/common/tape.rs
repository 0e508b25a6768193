//! Events that an upstream replays from any place and goes on with as they come; and a gate.

use super::call::Call;
use super::call::Next;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::time::Duration;

/// The head of an event stream whose body ends with the connection.
pub const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
/// The same, in chunks.
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                           Transfer-Encoding: chunked\r\n\r\n";

/// A piece of a body, as a chunk.
pub fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A list that grows, and that readers wait for.
#[derive(Default)]
pub struct Tape {
    items: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Tape {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// With numbers as data: 0, 1, and so on.
    pub fn counting(count: usize) -> Arc<Self> {
        let tape = Self::new();
        (0..count).for_each(|n| tape.push(n.to_string()));
        tape
    }

    pub fn push(&self, item: impl Into<String>) {
        self.items.lock().unwrap().push(item.into());
        self.grown.notify_all();
    }

    pub fn len(&self) -> usize {
        self.items.lock().unwrap().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Item `n`, once it is there; none if the call is over before.
    pub fn wait(&self, n: usize, call: &mut Call<'_>) -> Option<String> {
        loop {
            let mut items = self.items.lock().unwrap();
            if items.len() <= n {
                items = self.grown.wait_timeout(items, Duration::from_millis(20)).unwrap().0;
            }
            if let Some(item) = items.get(n) {
                return Some(item.clone());
            }
            drop(items);
            if call.is_over() {
                return None;
            }
        }
    }

    /// Plays the events behind `Last-Event-ID` (numbers as ids), then those that come.
    pub fn play(&self, call: &mut Call<'_>) -> Next {
        let last = call.asked.field("last-event-id").and_then(|id| id.parse::<usize>().ok());
        let mut n = last.map_or(0, |id| id + 1);
        call.send(STREAM);
        while let Some(data) = self.wait(n, call) {
            if !call.send(format!("id: {n}\ndata: {data}\n\n")) {
                return Next::Close;
            }
            n += 1;
        }
        call.hold()
    }

    /// A handler that plays this tape to everybody.
    pub fn player(self: &Arc<Self>) -> impl Fn(&mut Call<'_>) -> Next + Send + Sync + 'static {
        let tape = Arc::clone(self);
        move |call| tape.play(call)
    }
}
