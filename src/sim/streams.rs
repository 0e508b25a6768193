//! What upstreams have: the events of each channel, and who reads it.
//!
//! Invariants: event `n` of a channel is its `n`th, its id is that number in decimal, and no event
//! is ever forgotten: an upstream can replay everything.

use super::net::LinkId;
use super::net::Net;
use std::collections::BTreeMap;

/// One channel of an upstream.
#[derive(Debug, Default)]
struct Channel {
    events: Vec<String>,
    /// Whether a reader without an id gets everything, and not only what is new.
    from_start: bool,
    /// The connection that reads it, and the last event that was sent on it whole.
    live: Option<(LinkId, u64)>,
}

/// All channels, by the path of their URL.
#[derive(Debug, Default)]
pub struct Streams {
    channels: BTreeMap<String, Channel>,
    events: u64,
}

impl Streams {
    /// A channel that is empty.
    pub fn open(&mut self, path: &str, from_start: bool) {
        self.channels.insert(path.to_owned(), Channel { from_start, ..Channel::default() });
    }

    /// Adds an event of about so many bytes.
    pub fn produce(&mut self, path: &str, bytes: usize) {
        let Some(channel) = self.channels.get_mut(path) else { return };
        let number = channel.events.len() + 1;
        let mut data = format!("{path}:{number} ");
        data.extend((0..bytes).map(|n| if n % 61 == 60 { '\n' } else { 'x' }));
        channel.events.push(data);
        self.events += 1;
    }

    /// The number of the newest event.
    #[must_use]
    pub fn tail(&self, path: &str) -> u64 {
        let count = self.channels.get(path).map_or(0, |channel| channel.events.len());
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// The data of an event.
    #[must_use]
    pub fn data(&self, path: &str, number: u64) -> Option<&str> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.channels.get(path)?.events.get(index).map(String::as_str)
    }

    /// Which event this data is: the path of its channel, and its number.
    #[must_use]
    pub fn find(&self, data: &str) -> Option<(&str, u64)> {
        let (path, number) = data.split(' ').next()?.rsplit_once(':')?;
        let (path, _) = self.channels.get_key_value(path)?;
        let number = number.parse().ok()?;
        (self.data(path, number) == Some(data)).then_some((path.as_str(), number))
    }

    /// Whether a reader without an id gets everything.
    #[must_use]
    pub fn is_from_start(&self, path: &str) -> bool {
        self.channels.get(path).is_some_and(|channel| channel.from_start)
    }

    /// A connection begins to read after this event. The one that read before, if any.
    pub fn begin(&mut self, path: &str, link: LinkId, after: u64) -> Option<LinkId> {
        let channel = self.channels.get_mut(path)?;
        channel.live.replace((link, after)).map(|(link, _)| link)
    }

    /// An event was sent whole.
    pub fn sent(&mut self, path: &str, link: LinkId, number: u64) {
        if let Some(channel) = self.channels.get_mut(path)
            && let Some((live, upto)) = &mut channel.live
            && *live == link
        {
            *upto = number;
        }
    }

    /// The newest event that the server has surely read, on a connection that is open.
    #[must_use]
    pub fn taken(&self, path: &str, net: &Net) -> Option<u64> {
        let (link, upto) = self.channels.get(path)?.live?;
        (net.has_read(link) && net.is_up(link)).then_some(upto)
    }

    /// Events of all channels.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}
