//! The chunked coding: sizes, extensions, data, trailers. A plain size with its line's end is read
//! in one step where it is whole; all else byte by byte.
//!
//! ```text
//! size [; extension] CRLF data CRLF .. 0 [; extension] CRLF [trailer CRLF ..] CRLF
//! ```
//!
//! Invariants:
//! 1. Every line ends in CRLF; a bare CR or LF is a fault (H2).
//! 2. Sizes are hex, at most 16 digits, and their sum stays within the body's bound (H5).
//! 3. Extensions and trailers are checked for form and bounded. Extensions are dropped; trailers
//!    go to whoever asks for them.

use super::Fault;
use super::Piece;
use super::scan::is_token;
use crate::http::Limits;

/// Bytes of all chunk extensions of one request, or of one chunk of a response (H5).
const EXTENSION_BYTES_MAX: u32 = 4 * 1024;
/// Hex digits of one size, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size {
        digits: u8,
    },
    /// Blanks between the size and the semicolon.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer line or of the last, empty one.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

/// The body machine of one chunked message.
#[derive(Debug)]
pub(super) struct Chunked {
    at: At,
    /// The size being read, then what is left of that chunk.
    left: u64,
    /// Body bytes announced so far.
    total: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
    trailers: u32,
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self {
            at: At::Size { digits: 0 },
            left: 0,
            total: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailers: 0,
        }
    }

    /// Lets the bound on extensions begin anew: a body without end may have some on every chunk.
    pub(super) fn renew_extensions(&mut self) {
        self.extension_bytes = 0;
    }

    /// The next piece of the body, or its end. The lines of the trailers are appended to `keep`.
    pub(super) fn decode<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: &Limits,
        mut keep: Option<&mut Vec<u8>>,
    ) -> Result<Piece<'i>, Fault> {
        while let Some((byte, rest)) = input.split_first() {
            match self.at {
                At::Data => return Ok(Piece::Body(self.data(input))),
                // What stands between two pieces of data is short, plain and mostly whole.
                At::DataCr => {
                    if let Some(rest) = input.strip_prefix(b"\r\n") {
                        (self.at, *input) = (At::Size { digits: 0 }, rest);
                        continue;
                    }
                }
                At::Size { digits: 0 } => {
                    if let Some((size, rest)) = size_line(input) {
                        (self.left, *input) = (size, rest);
                        self.at = self.sized(limits)?;
                        continue;
                    }
                }
                _ => {}
            }
            *input = rest;
            if self.at == At::LastLf && *byte == b'\n' {
                return Ok(Piece::End);
            }
            let trailer_bytes = self.trailer_bytes;
            self.step(*byte, limits)?;
            if let Some(kept) = keep.as_mut().filter(|_| self.trailer_bytes > trailer_bytes) {
                kept.push(*byte);
            }
        }
        Ok(Piece::Wait)
    }

    /// As much of the chunk as there is.
    fn data<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (body, rest) = input.split_at(take);
        *input = rest;
        self.left -= take as u64;
        if self.left == 0 {
            self.at = At::DataCr;
        }
        body
    }

    fn step(&mut self, byte: u8, limits: &Limits) -> Result<(), Fault> {
        self.at = match (self.at, byte) {
            (At::Size { digits }, byte) if byte.is_ascii_hexdigit() => self.digit(digits, byte)?,
            (At::Size { digits: 0 }, _) => return Err(Fault::Chunk),
            (At::Size { .. } | At::Extension, b'\r') => At::SizeLf,
            (At::Size { .. } | At::Blank, b' ' | b'\t') => self.extension(At::Blank)?,
            (At::Size { .. } | At::Blank, b';') => self.extension(At::Extension)?,
            (At::Extension, byte) if is_text(byte) => self.extension(At::Extension)?,
            (At::SizeLf, b'\n') => self.sized(limits)?,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0 },
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::TrailerStart, byte) if is_token(byte) => {
                self.trailers = self.trailers.saturating_add(1);
                if self.trailers as usize > limits.headers_max {
                    return Err(Fault::TooManyFields);
                }
                self.trailer(At::TrailerName, limits)?
            }
            (At::TrailerName, b':') => self.trailer(At::TrailerValue, limits)?,
            (At::TrailerName, byte) if is_token(byte) => self.trailer(At::TrailerName, limits)?,
            (At::TrailerValue, b'\r') => self.trailer(At::TrailerLf, limits)?,
            (At::TrailerValue, byte) if is_text(byte) => self.trailer(At::TrailerValue, limits)?,
            (At::TrailerLf, b'\n') => self.trailer(At::TrailerStart, limits)?,
            _ => return Err(Fault::Chunk),
        };
        Ok(())
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<At, Fault> {
        if digits >= SIZE_DIGITS_MAX {
            return Err(Fault::Chunk);
        }
        let value = char::from(byte).to_digit(16).ok_or(Fault::Chunk)?;
        self.left = self.left << 4 | u64::from(value);
        Ok(At::Size { digits: digits + 1 })
    }

    /// A size line is complete.
    fn sized(&mut self, limits: &Limits) -> Result<At, Fault> {
        if self.left == 0 {
            return Ok(At::TrailerStart);
        }
        self.total = self.total.saturating_add(self.left);
        if self.total > limits.body_bytes_max as u64 {
            return Err(Fault::BodyTooLarge);
        }
        Ok(At::Data)
    }

    fn extension(&mut self, next: At) -> Result<At, Fault> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(Fault::ChunkExtensions);
        }
        Ok(next)
    }

    fn trailer(&mut self, next: At, limits: &Limits) -> Result<At, Fault> {
        self.trailer_bytes = self.trailer_bytes.saturating_add(1);
        if self.trailer_bytes as usize > limits.head_bytes_max {
            return Err(Fault::HeadTooLarge);
        }
        Ok(next)
    }
}

/// The size in a whole line without blanks and extensions, and what follows it; `None` where that
/// is for [`Chunked::step`] to find out.
fn size_line(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0;
    for (index, byte) in input.iter().enumerate().take(usize::from(SIZE_DIGITS_MAX)) {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            let rest = input.get(index..)?.strip_prefix(b"\r\n")?;
            return (index > 0).then_some((size, rest));
        };
        size = size << 4 | u64::from(digit);
    }
    None
}

/// What may stand in a field's value or an extension: no control bytes apart from the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
