//! Answers of ours, where the backend has none.
//!
//! Invariants: an answer is given only before the response's head; after it, the response is cut.

use super::At;
use super::Relay;
use super::ending::ClientNext;
use super::ending::End;
use super::ending::Step;
use super::upload::Upload;
use crate::http::date::Date;
use crate::http::response::Reply;

impl Relay {
    pub(super) fn refuse(
        &mut self,
        status: u16,
        text: &str,
        end: End,
        at: &At<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        if self.end.is_some() || self.has_begun() {
            return self.cut(end);
        }
        // What is left of the body cannot be told from the next request, so it is not looked at.
        let keeps = self.to.keep_alive && self.upload == Upload::Complete;
        let to = if keeps { self.to } else { self.to.closing() };
        self.status = status;
        Reply::start(out, status, to)
            .date(Date::new().text(at.unix_millis))
            .field("Content-Type", "text/plain; charset=utf-8")
            .body(format!("{text}\n").as_bytes());
        self.over(end, if keeps { ClientNext::Keep } else { ClientNext::Close })
    }
}
