//! The beat: a spread scan over the client slots for what depends on time alone.
//!
//! Heartbeats, write timeouts and the ends of connections need no timer per client: every slot is
//! visited several times in each period, a few slots at a time, so the work is spread evenly and
//! an idle client stays small.
//!
//! Invariants: a deadline is met at the first visit after it.

use super::client::{Body, NEVER, Piece, Place, Tick, Until};
use super::fanout::{ClientId, Dropped, Fanout};

/// The comment that keeps a silent connection alive.
const HEARTBEAT: &[u8] = b":\n";

/// The periods, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Silence after which a comment is sent; [`NEVER`]: none.
    pub heartbeat: Tick,
    /// How long a blocked client may make no progress; [`NEVER`]: for ever.
    pub write_timeout: Tick,
}

impl Beat {
    /// The heartbeat of a slot: clients that fell silent together speak up over a fifth of the
    /// period, not together.
    fn heartbeat_of(&self, slot: u32) -> Tick {
        if self.heartbeat == NEVER {
            return NEVER;
        }
        let part = slot.wrapping_mul(0x9e37_79b1) >> 24;
        let spread = u64::from(self.heartbeat) * u64::from(part) / (5 * 256);
        self.heartbeat - Tick::try_from(spread).unwrap_or(0)
    }
}

impl Fanout {
    /// Visits the slots from `from` up to `upto`. Clients whose time has come are appended to
    /// `due`; the caller ends them. Returns the number of comments queued.
    pub fn beat(
        &mut self,
        from: u32,
        upto: u32,
        now: Tick,
        beat: Beat,
        due: &mut Vec<(ClientId, Until)>,
    ) -> u64 {
        let mut comments = 0;
        for slot in from..upto.min(self.slots()) {
            let Some((id, client)) = self.clients.at(slot) else { continue };
            let silent = now.saturating_sub(client.touched);
            if client.until != NEVER && now >= client.until {
                due.push((id, client.why));
            }
            if client.blocked {
                if silent >= beat.write_timeout {
                    self.drop_client(slot, Dropped::WriteTimeout);
                } else if client.is_starved() {
                    self.unblock(id);
                }
            } else if silent >= beat.heartbeat_of(slot)
                && client.place(self.tail_of(slot)) == Place::Idle
            {
                comments += 1;
                self.comment(slot);
            }
        }
        comments
    }

    fn comment(&mut self, index: u32) {
        self.unlist(index);
        if let Some(client) = self.clients.at_mut(index) {
            let piece = Piece { at: client.cursor, sent: 0, body: Body::Comment(HEARTBEAT) };
            client.extra.get_or_insert_default().pieces.push_back(piece);
        }
        self.list(index);
    }

    /// Sets a client's end, if that is sooner than what it has.
    pub fn end_by(&mut self, id: ClientId, until: Tick, why: Until) {
        if let Some(client) = self.clients.find_mut(id)
            && !client.is_ending()
            && until < client.until
        {
            (client.until, client.why) = (until, why);
        }
    }
}
