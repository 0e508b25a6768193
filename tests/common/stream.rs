//! A subscriber that reads the event stream strictly, as the hub writes it.
//!
//! Stricter than a client may be: fields come in the hub's order, each line ends in LF, no comment
//! stands inside an event. Whatever breaks this is a torn event or a mixed-up send.

use super::peer::Peer;
use super::peer::Response;
use super::server::HUB;
use super::server::Server;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub kind: Option<String>,
    pub retry: Option<u64>,
    pub id: Option<String>,
    pub data: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    Comment(String),
    Retry(u64),
    Event(Event),
}

pub struct Stream {
    peer: Peer,
    pub response: Response,
    /// The bytes of the block that was read last.
    pub wire: Vec<u8>,
    /// Whether the stream ended inside an event.
    pub is_cut: bool,
    /// Comments seen so far, in order.
    pub comments: Vec<String>,
}

impl Stream {
    /// Subscribes with this query, as `topic=a&topic=b`.
    #[track_caller]
    pub fn open(server: &Server, query: &str) -> Self {
        Self::with(server, query, "")
    }

    /// The same, with more fields, each line ended.
    #[track_caller]
    pub fn with(server: &Server, query: &str, fields: &str) -> Self {
        Self::over(Peer::connect(server.address), query, fields)
    }

    #[track_caller]
    pub fn over(peer: Peer, query: &str, fields: &str) -> Self {
        Self::try_over(peer, query, fields).unwrap_or_else(|r| panic!("refused: {r:?}"))
    }

    /// A stream, or the answer that refuses it.
    pub fn try_over(peer: Peer, query: &str, fields: &str) -> Result<Self, Response> {
        Self::try_at(peer, &format!("{HUB}?{query}"), fields)
    }

    /// The stream at any target.
    #[track_caller]
    pub fn at(server: &Server, target: &str, fields: &str) -> Self {
        let stream = Self::try_at(Peer::connect(server.address), target, fields);
        stream.unwrap_or_else(|r| panic!("refused: {r:?}"))
    }

    /// The same, or the answer that refuses it.
    pub fn try_at(mut peer: Peer, target: &str, fields: &str) -> Result<Self, Response> {
        let accept = "Accept: text/event-stream\r\n";
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{accept}{fields}\r\n"));
        let response = peer.head();
        if response.status == 200 {
            return Ok(Self::resumed(peer, response));
        }
        let mut refusal = response;
        peer.body(&mut refusal);
        Err(refusal)
    }

    /// The stream behind a head that was already read.
    pub fn resumed(peer: Peer, response: Response) -> Self {
        assert!(response.field("content-type").unwrap().starts_with("text/event-stream"));
        assert_eq!(response.field("content-length"), None);
        assert_eq!(response.field("transfer-encoding"), None);
        let (wire, is_cut, comments) = (Vec::new(), false, Vec::new());
        Self { peer, response, wire, is_cut, comments }
    }

    pub fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    pub fn into_peer(self) -> Peer {
        self.peer
    }

    /// The next block, or none at the end of the stream.
    pub fn block(&mut self) -> Option<Block> {
        loop {
            if let Some((length, block)) = parse(self.peer.held()) {
                self.wire = self.peer.held().drain(..length).collect();
                if let Some(Block::Comment(text)) = &block {
                    self.comments.push(text.clone());
                }
                if block.is_some() {
                    return block;
                }
            } else if !self.peer.fill() {
                self.is_cut = !self.peer.held().is_empty();
                return None;
            }
        }
    }

    /// The next event, or none at the end; comments and `retry:` alone are passed over.
    pub fn try_event(&mut self) -> Option<Event> {
        loop {
            if let Block::Event(event) = self.block()? {
                return Some(event);
            }
        }
    }

    #[track_caller]
    pub fn event(&mut self) -> Event {
        self.try_event().expect("the stream goes on")
    }

    #[track_caller]
    pub fn data(&mut self) -> String {
        self.event().data
    }

    #[track_caller]
    pub fn id(&mut self) -> String {
        self.event().id.expect("every event has an id")
    }

    /// The ids of the next events.
    #[track_caller]
    pub fn ids(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.id()).collect()
    }

    /// The data of all events until the stream ends.
    pub fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.try_event()).map(|event| event.data).collect()
    }
}

/// The first block in `bytes` and its length; a lone empty line is no block. A `retry:` that comes
/// first stands alone: on connect the hub writes that line in front of whatever follows.
fn parse(bytes: &[u8]) -> Option<(usize, Option<Block>)> {
    let line_end = |from: usize| memchr::memchr(b'\n', &bytes[from..]).map(|n| from + n);
    let first = line_end(0)?;
    let text = |from: usize, end: usize| std::str::from_utf8(&bytes[from..end]).expect("UTF-8");
    let alone = |block: Option<Block>| Some((first + 1, block));
    match text(0, first) {
        "" => return alone(None),
        line if line.starts_with(':') => {
            return alone(Some(Block::Comment(line[1..].trim_start().to_owned())));
        }
        line => {
            if let Some(millis) = line.strip_prefix("retry: ") {
                return alone(Some(Block::Retry(millis.parse().expect("digits"))));
            }
        }
    }
    let (mut event, mut from, mut rank, mut data) = (Event::default(), 0, None, Vec::new());
    loop {
        let end = line_end(from)?;
        let line = text(from, end);
        from = end + 1;
        if line.is_empty() {
            break;
        }
        let torn = || format!("torn event: {:?}", String::from_utf8_lossy(&bytes[..end]));
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{}", torn()));
        let order = ["event", "retry", "id", "data"].iter().position(|n| *n == name);
        let order = order.unwrap_or_else(|| panic!("{}", torn()));
        assert!(Some(order) > rank || (order, rank) == (3, Some(3)), "order of fields: {line:?}");
        rank = Some(order);
        match order {
            0 => event.kind = Some(value.to_owned()),
            1 => event.retry = Some(value.parse().expect("digits")),
            2 => event.id = Some(value.to_owned()),
            _ => data.push(value),
        }
    }
    event.data = data.join("\n");
    Some((from, Some(Block::Event(event))))
}
