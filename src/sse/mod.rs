//! The event-stream format, both ways: encoder for what we send, decoder for what we receive.
//!
//! Invariants: no I/O, no clock. What the encoder writes is valid UTF-8, has a blank line at the
//! end of an event and nowhere else, and decodes to what was given (CR and CRLF in data become
//! LF). The decoder gives the same events however its input is cut, and holds bounded memory.
//! Spec: HTML Living Standard, section "Server-sent events".

mod decode;
mod encode;

pub use decode::DecodeError;
pub use decode::Decoder;
pub use decode::Event;
pub use decode::Item;
pub use encode::EncodeError;
pub use encode::EventFields;
pub use encode::boundary;
pub use encode::encode;
pub use encode::encode_comment;
pub use encode::encode_ending;
pub use encode::encode_retry;
