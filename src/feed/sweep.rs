//! The sweep: ready clients in turn, one range each, then what the kernel made of it.
//!
//! Invariants:
//! 1. `gather` takes clients out of the ready queue; `settle` puts every one of them somewhere.
//! 2. A client is in a batch once, so a flush has at most one send for each socket.
//! 3. Nobody is removed between the two.
//! 4. A batch that is the last word leaves nobody ready or waiting if the kernel takes all of it.

use super::client::{Stage, Tick};
use super::fanout::{Dropped, Effect, Fanout};
use arrayvec::ArrayVec;

/// Sends of one batch at most.
pub const BATCH: usize = 256;
/// Bytes of one send at most: a whole page or block.
const SEND: usize = 256 * 1024;

/// Clients with the number of bytes that each is sent; of one fan-out, or one stretch after the
/// other of several.
pub type Batch = ArrayVec<(u32, u32), BATCH>;

/// What a fan-out adds to a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Bytes to be sent.
    pub bytes: usize,
    /// Some clients of it have more to be sent after it, or may have.
    pub more: bool,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Bytes that the kernel took.
    pub bytes: u64,
    /// Sends that fell short.
    pub shorts: u64,
}

impl Fanout {
    /// Appends to the batch up to `count` clients from the front of the ready queue, about
    /// `bytes_max` bytes, as long as it has room.
    pub fn gather(&mut self, count: usize, bytes_max: usize, batch: &mut Batch) -> Gathered {
        let mut gathered = Gathered::default();
        let most = batch.len().saturating_add(count).min(BATCH);
        while batch.len() < most && gathered.bytes < bytes_max {
            let Some(index) = self.ready.pop_front(&mut self.clients) else { break };
            let len = self.range(index).1.len();
            debug_assert!(len > 0, "a ready client has something to send");
            gathered.bytes += len;
            gathered.more |= !self.is_last(index, len);
            batch.push((index, u32::try_from(len).unwrap_or(u32::MAX)));
        }
        gathered
    }

    /// Whether a live client has nothing more once it got `len` bytes. One that has bytes of its
    /// own may go on in many ways.
    fn is_last(&self, index: u32, len: usize) -> bool {
        let Some((_, client)) = self.clients.at(index) else { return true };
        client.extra.is_none() && client.cursor + len as u64 == self.tail_of(index)
    }

    /// Socket and bytes of a client of the batch.
    #[must_use]
    pub fn range(&self, index: u32) -> (i32, &[u8]) {
        let Some((_, client)) = self.clients.at(index) else { return (-1, &[]) };
        let bytes = match client.due() {
            Some(piece) => piece.rest().get(..SEND).unwrap_or(piece.rest()),
            None => {
                let feed = self.directory.feeds.at(client.feed);
                feed.map_or(&[][..], |(_, f)| f.bytes.range(client.cursor, client.limit(), SEND))
            }
        };
        (client.socket, bytes)
    }

    /// Moves the cursors of a batch, or of this fan-out's stretch of one. `shorts` lists, in any
    /// order, the places in it that fell short, with the bytes that were taken or the errno.
    pub fn settle(
        &mut self,
        batch: &[(u32, u32)],
        shorts: &[(usize, Result<usize, i32>)],
        now: Tick,
    ) -> Settled {
        let mut settled = Settled { bytes: 0, shorts: shorts.len() as u64 };
        let mut short = [false; BATCH];
        for (place, _) in shorts {
            if let Some(flag) = short.get_mut(*place) {
                *flag = true;
            }
        }
        for ((index, len), short) in batch.iter().zip(short) {
            if !short {
                settled.bytes += u64::from(*len);
                self.sent(*index, *len as usize, now);
                self.go_on(*index);
            }
        }
        for (place, taken) in shorts {
            let Some((index, len)) = batch.get(*place) else { continue };
            match taken {
                Ok(taken) if *taken >= *len as usize => {
                    settled.bytes += u64::from(*len);
                    self.sent(*index, *len as usize, now);
                    self.go_on(*index);
                }
                Ok(taken) => {
                    settled.bytes += *taken as u64;
                    if *taken > 0 {
                        self.sent(*index, *taken, now);
                    }
                    self.block(*index, now);
                }
                Err(errno) => {
                    // Back into a list first: removal takes it out of where it belongs.
                    self.list(*index);
                    self.drop_client(*index, Dropped::Failed(*errno));
                }
            }
        }
        settled
    }

    /// A client took `len` bytes of its range.
    fn sent(&mut self, index: u32, len: usize, now: Tick) {
        let Some(client) = self.clients.at_mut(index) else { return };
        (client.touched, client.hopes) = (now, 0);
        if client.due().is_none() {
            let to = client.cursor + len as u64;
            if let Some(feed) = self.directory.feeds.at_mut(client.feed) {
                feed.bytes.advance(client.cursor, to, &mut self.pool);
            }
            client.cursor = to;
            return;
        }
        let Some(extra) = &mut client.extra else { return };
        let Some(piece) = extra.pieces.front_mut() else { return };
        piece.sent += len;
        if piece.sent >= piece.all().len() {
            self.own_bytes -= piece.own_bytes();
            extra.pieces.pop_front();
        }
        if extra.pieces.is_empty() && !extra.ending && client.stage == Stage::Live {
            client.extra = None;
        }
    }

    /// Puts a client that took everything where it belongs now.
    fn go_on(&mut self, index: u32) {
        let Some((_, client)) = self.clients.at(index) else { return };
        let last = client.is_ending()
            && client.extra.as_ref().is_some_and(|extra| extra.pieces.is_empty());
        let why = client.why;
        self.list(index);
        if last {
            self.drop_client(index, Dropped::Ended(why));
        }
    }

    /// The socket is full: the client waits for room. Where the kernel promises room and takes
    /// nothing again and again, it is short of memory, and would promise it again at once: then the
    /// beat tries again a little later. The write timeout goes on from the first time.
    fn block(&mut self, index: u32, now: Tick) {
        let Some(client) = self.clients.at_mut(index) else { return };
        let starved = client.is_starved();
        client.blocked = true;
        self.tally.starved += u64::from(starved);
        if client.hopes == 0 {
            // The write timeout counts from here: before, there may have been nothing to send.
            client.touched = now;
        }
        self.list(index);
        if let Some((id, client)) = self.clients.at(index)
            && !starved
        {
            self.effects.push(Effect::Full { client: id, socket: client.socket });
        }
    }

    /// Drops a client that is in a list.
    pub(super) fn drop_client(&mut self, index: u32, why: Dropped) {
        let Some(id) = self.client_at(index) else { return };
        if let Some((socket, tag)) = self.remove(id) {
            self.effects.push(Effect::Dropped { socket, tag, why });
        }
    }
}
