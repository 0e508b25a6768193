//! Which line of a text a byte stands on.
//!
//! Invariants: the text is read once, so that a file with very many values costs no more than its
//! length; lines count from 1.

use crate::config::error::Place;

/// Where the lines of a text end.
#[derive(Clone, Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// The lines of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(memchr::memchr_iter(b'\n', text.as_bytes()).collect())
    }

    /// The line that this byte stands on; a line's end belongs to it.
    #[must_use]
    pub fn place(&self, offset: usize) -> Place {
        Place::Line(1 + self.0.partition_point(|end| *end < offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_on_their_lines() {
        let lines = Lines::of("ab\n\nc");
        let places: Vec<_> = (0..6).map(|offset| lines.place(offset)).collect();
        assert_eq!(places, [1, 1, 1, 2, 3, 3].map(Place::Line));
        assert_eq!(Lines::of("").place(9), Place::Line(1));
    }
}
