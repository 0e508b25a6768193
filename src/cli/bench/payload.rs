//! What the load generator writes into an event's data, and how it finds it again.
//!
//! A record is `tgRRRR.NNNNNNNNNNNN.DDDDDDDDDDDDDDDD.`: run, event number and due time in
//! hexadecimal, then filler up to the payload's size. It is plain text of unreserved characters, so
//! it passes through forms, JSON and paths unchanged, and any server that hands data on can be
//! measured. The due time is in nanoseconds of the monotonic clock.
//!
//! Invariants:
//! 1. A record is found exactly once however the stream is cut into reads ([`Carry`]).
//! 2. Scanning never allocates and never looks at the bytes between records, so heads, chunk
//!    sizes, ids and comments need no parser.

use memchr::memmem::Finder;

const MARK: usize = 7;
const NUMBER: usize = 12;
const DUE: usize = 16;

/// Bytes of a record, the least payload.
pub const RECORD: usize = MARK + NUMBER + 1 + DUE + 1;

/// One event as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the run, from 0.
    pub number: u64,
    /// When it was due, in monotonic nanoseconds.
    pub due: u64,
}

/// Appends the data of one event: `size` bytes, and no fewer than [`RECORD`].
pub fn append(run: u16, record: Record, size: usize, out: &mut Vec<u8>) {
    let end = out.len() + size.max(RECORD);
    out.extend_from_slice(&mark(run));
    append_hex(record.number, NUMBER, out);
    out.push(b'.');
    append_hex(record.due, DUE, out);
    out.push(b'.');
    out.resize(end, b'x');
}

fn mark(run: u16) -> [u8; MARK] {
    let [a, b] = run.to_be_bytes();
    [b't', b'g', digit(a >> 4), digit(a & 15), digit(b >> 4), digit(b & 15), b'.']
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[allow(clippy::cast_possible_truncation, reason = "a nibble is below 16")]
fn append_hex(value: u64, digits: usize, out: &mut Vec<u8>) {
    out.extend((0..digits).rev().map(|place| digit((value >> (4 * place)) as u8 & 15)));
}

fn hex(bytes: &[u8]) -> Option<u64> {
    let mut value = 0;
    let mut bad = 0;
    for byte in bytes {
        // `0-9` and `a-f` to a nibble without a branch; anything else leaves a trace in `bad`.
        let nibble = (byte & 15) + 9 * (byte >> 6);
        bad |= u8::from(digit(nibble & 15) != *byte);
        value = value << 4 | u64::from(nibble & 15);
    }
    (bad == 0).then_some(value)
}

/// The end of a read that may hold the beginning of a record.
#[derive(Clone, Copy, Debug)]
pub struct Carry {
    bytes: [u8; RECORD],
    len: u8,
}

impl Default for Carry {
    fn default() -> Self {
        Self { bytes: [0; RECORD], len: 0 }
    }
}

/// Room that a read buffer leaves in front, for the [`Carry`].
pub const MARGIN: usize = 64;
const _: () = assert!(RECORD <= MARGIN && RECORD < 256);

/// Finds the records of one run.
#[derive(Debug)]
pub struct Scanner {
    finder: Finder<'static>,
}

impl Scanner {
    /// A scanner for the records of `run`.
    #[must_use]
    pub fn new(run: u16) -> Self {
        Self { finder: Finder::new(&mark(run)).into_owned() }
    }

    /// Reports each record in `buffer[MARGIN..MARGIN + fresh]`, which a read has just filled,
    /// preceded by what `carry` kept of the read before. The margin's bytes are overwritten.
    pub fn scan(
        &self,
        buffer: &mut [u8],
        fresh: usize,
        carry: &mut Carry,
        mut found: impl FnMut(Record),
    ) {
        let kept = usize::from(carry.len);
        let start = MARGIN - kept;
        if let (Some(room), Some(bytes)) = (buffer.get_mut(start..MARGIN), carry.bytes.get(..kept))
        {
            room.copy_from_slice(bytes);
        }
        let mut rest = buffer.get(start..MARGIN + fresh).unwrap_or_default();
        while let Some(at) = self.finder.find(rest) {
            let Some((record, after)) = rest.split_at_checked(at + RECORD) else {
                rest = rest.get(at..).unwrap_or_default();
                break;
            };
            if let Some(record) = record.get(at..).and_then(parse) {
                found(record);
            }
            rest = after;
        }
        let tail = rest.len().min(RECORD - 1);
        let tail = rest.get(rest.len() - tail..).unwrap_or_default();
        if let Some(room) = carry.bytes.get_mut(..tail.len()) {
            room.copy_from_slice(tail);
            carry.len = u8::try_from(tail.len()).unwrap_or(0);
        }
    }
}

fn parse(record: &[u8]) -> Option<Record> {
    let number = hex(record.get(MARK..MARK + NUMBER)?)?;
    let due = hex(record.get(MARK + NUMBER + 1..RECORD - 1)?)?;
    Some(Record { number, due })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(records: &[Record], size: usize) -> Vec<u8> {
        let mut out = b"HTTP/1.1 200 OK\r\n\r\n: hi\n\n".to_vec();
        for record in records {
            out.extend_from_slice(b"id: tg12\ndata: ");
            append(0x12ab, *record, size, &mut out);
            out.extend_from_slice(b"\n\n");
        }
        out
    }

    fn scan_in_pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Record> {
        let scanner = Scanner::new(0x12ab);
        let (mut carry, mut got) = (Carry::default(), Vec::new());
        let mut rest = bytes;
        let mut cuts = cuts.iter().copied().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap().clamp(1, rest.len()));
            let mut buffer = vec![b'?'; MARGIN];
            buffer.extend_from_slice(now);
            scanner.scan(&mut buffer, now.len(), &mut carry, |record| got.push(record));
            rest = later;
        }
        got
    }

    #[test]
    fn has_the_size_that_was_asked_for() {
        let mut out = Vec::new();
        append(1, Record { number: 3, due: 5 }, 100, &mut out);
        assert_eq!(out.len(), 100);
        append(1, Record { number: 3, due: 5 }, 1, &mut out);
        assert_eq!(out.len(), 100 + RECORD);
    }

    #[test]
    fn ignores_other_runs_and_damaged_records() {
        let mut bytes = Vec::new();
        append(7, Record { number: 1, due: 1 }, 50, &mut bytes);
        let at = bytes.len() + MARK;
        append(0x12ab, Record { number: 2, due: 2 }, 50, &mut bytes);
        bytes[at] = b'G';
        assert_eq!(scan_in_pieces(&bytes, &[1000]), []);
    }

    proptest! {
        #[test]
        fn finds_each_record_once_however_cut(
            numbers in prop::collection::vec((0_u64..1 << 48, any::<u64>()), 0..20),
            size in 0_usize..120,
            cuts in prop::collection::vec(1_usize..90, 1..20),
        ) {
            let records: Vec<_> =
                numbers.iter().map(|(number, due)| Record { number: *number, due: *due }).collect();
            prop_assert_eq!(scan_in_pieces(&stream(&records, size), &cuts), records);
        }
    }
}
