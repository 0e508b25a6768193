//! Header fields that are being changed on their way: an owned list, in order.
//!
//! Invariants: names compare without case and keep the case they came in; no value holds CR, LF or
//! NUL, so a list that is written out is exactly as many fields as it has entries. `Debug` shows no
//! value: it may be a secret.

use crate::http::h1::Head;

/// A list of header fields.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(Box<str>, Box<[u8]>)>);

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl<'f> FromIterator<(&'f str, &'f [u8])> for Fields {
    fn from_iter<T: IntoIterator<Item = (&'f str, &'f [u8])>>(list: T) -> Self {
        let mut fields = Self::new();
        list.into_iter().for_each(|(name, value)| fields.push(name, value));
        fields
    }
}

impl Fields {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The fields of a request, as they came.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        head.fields().collect()
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The values of this name, in order.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Keeps the fields for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Adds a field at the end. CR, LF and NUL in the value become spaces.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.push((name.into(), value.as_ref().iter().copied().map(harmless).collect()));
    }

    /// Replaces every field of this name by one.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Appends to the field of this name, `old, new` being joined by `separator`; adds it if there
    /// is none. Several fields of the name become one (RFC 9110 section 5.3).
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>, separator: &str) {
        let mut joined: Vec<u8> = Vec::new();
        for old in self.all(name) {
            joined.extend_from_slice(old);
            joined.extend_from_slice(separator.as_bytes());
        }
        joined.extend_from_slice(value.as_ref());
        self.set(name, joined);
    }

    /// Appends all fields as they stand on the wire, without the empty line.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A byte of a value, or a space in place of one that would end its line.
pub(in crate::http) fn harmless(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_compare_without_case_and_values_stay_in_their_field() {
        let mut fields = Fields::new();
        fields.push("X-A", "1\r\nX-B: 2\0");
        fields.push("x-a", "3");
        assert_eq!(fields.all("X-a").count(), 2);
        fields.append("X-A", "4", ", ");
        assert_eq!(text(&fields), "X-A: 1  X-B: 2 , 3, 4\r\n");
        fields.set("x-A", "5");
        assert_eq!(text(&fields), "x-A: 5\r\n");
        assert_eq!(format!("{fields:?}"), "[\"x-A\"]", "no value shows");
        fields.append("New", "n", ",");
        fields.remove("x-a");
        assert_eq!(text(&fields), "New: n\r\n");
    }
}
