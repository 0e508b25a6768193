//! Response filters of a rule, on an answer that was made here.
//!
//! Invariants: the body is not touched; framing fields are neither changed nor removed, whatever a
//! filter says (the configuration refuses such filters already).

use crate::config::gateway::HeaderChange;
use crate::http::fields::Fields;
use crate::http::forward;
use crate::route::filter;

/// Changes the fields of the answer whose head begins at `from`, if it is whole.
pub(super) fn head(out: &mut Vec<u8>, from: usize, changes: &[HeaderChange]) {
    if changes.is_empty() {
        return;
    }
    let answer = out.get(from..).unwrap_or_default();
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return };
    let body = answer.get(end + 4..).unwrap_or_default().to_vec();
    let lines = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let mut lines = lines.split("\r\n");
    let status_line = lines.next().unwrap_or_default().to_owned();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let (framing, mut fields): (Vec<_>, Vec<_>) =
        pairs.partition(|(name, _)| forward::is_hop_by_hop(name));
    let mut edited = Fields::new();
    for (name, value) in fields.drain(..) {
        edited.push(name, value);
    }
    for change in changes {
        filter::apply_where(change, &mut edited, |name| !forward::is_hop_by_hop(name));
    }
    for (name, value) in framing {
        edited.push(name, value);
    }
    out.truncate(from);
    out.extend_from_slice(status_line.as_bytes());
    out.extend_from_slice(b"\r\n");
    edited.write(out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_change_and_framing_does_not() {
        let mut out = b"before|HTTP/1.1 200 OK\r\nA: 1\r\nSet-Cookie: one\r\nB: 2\r\n\
              Content-Length: 3\r\n\r\na\r\n"
            .to_vec();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let change = HeaderChange {
            set: vec![pair("a", "9"), pair("Content-Length", "0")],
            add: vec![pair("B", "x"), pair("C", "y"), pair("Set-Cookie", "two")],
            remove: vec!["Connection".to_owned()],
        };
        head(&mut out, 7, &[change]);
        let text = String::from_utf8(out).unwrap();
        let want = "before|HTTP/1.1 200 OK\r\nSet-Cookie: one\r\na: 9\r\nB: 2,x\r\nC: y\r\n\
                    Set-Cookie: two\r\nContent-Length: 3\r\n\r\na\r\n";
        assert_eq!(text, want);
    }

    #[test]
    fn half_a_head_and_no_change_stay() {
        let mut out = b"HTTP/1.1 200 OK\r\nA: 1\r\n".to_vec();
        let change = HeaderChange { remove: vec!["a".to_owned()], ..HeaderChange::default() };
        head(&mut out, 0, &[change]);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\nA: 1\r\n");
    }
}
