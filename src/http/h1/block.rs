//! A head's bytes in one owned block, and where its fields lie in it.
//!
//! Invariants: names are tokens, values are without outer blanks and without control bytes apart
//! from tabs; places lie within the block. `Debug` shows no value: it may be a secret.

use super::Fault;
use std::ops::Range;

/// Fields that need no allocation while parsing.
pub(super) const FIELDS_INLINE: usize = 32;

/// A place in the head's bytes. Heads are far below 4 GiB: `Limits::head_bytes_max` bounds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// The bytes of a head and the places of its fields.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Block {
    bytes: Vec<u8>,
    fields: Vec<(Span, Span)>,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.fields().map(|(name, _)| name)).finish()
    }
}

impl Block {
    /// Takes the bytes over in which the fields lie.
    pub(super) fn new(bytes: Vec<u8>, fields: Vec<(Span, Span)>) -> Self {
        Self { bytes, fields }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (self.text(*name), self.raw(*value)))
    }

    pub(super) fn all<'b>(&'b self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.fields().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn first_text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.all(name).next()?).ok()
    }

    pub(super) fn raw(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    pub(super) fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.raw(span)).unwrap_or_default()
    }
}

/// Shows every parsed field to `each`, and says where the fields lie in `bytes`.
pub(super) fn places<'b>(
    bytes: &[u8],
    parsed: &[httparse::Header<'b>],
    mut each: impl FnMut(&'b str, &'b [u8]) -> Result<(), Fault>,
) -> Result<Vec<(Span, Span)>, Fault> {
    let mut fields = Vec::with_capacity(parsed.len());
    for field in parsed {
        let value = field.value.trim_ascii();
        each(field.name, value)?;
        fields.push((span(bytes, field.name.as_bytes())?, span(bytes, value)?));
    }
    Ok(fields)
}

/// Where `part`, a slice of `bytes`, lies in it.
pub(super) fn span(bytes: &[u8], part: &[u8]) -> Result<Span, Fault> {
    if part.is_empty() {
        return Ok(Span::default());
    }
    let start = part.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
    debug_assert!(start + part.len() <= bytes.len(), "a part of the head lies in the head");
    within(0, &(start..start + part.len()))
}

/// A range of the part that begins at `base`.
pub(super) fn within(base: u32, range: &Range<usize>) -> Result<Span, Fault> {
    let place = |n: usize| u32::try_from(n).ok().and_then(|n| base.checked_add(n));
    match (place(range.start), place(range.end)) {
        (Some(start), Some(end)) => Ok(Span { start, end }),
        _ => Err(Fault::HeadTooLarge),
    }
}

impl Span {
    /// Its first byte's place.
    pub(super) fn start(self) -> u32 {
        self.start
    }
}
