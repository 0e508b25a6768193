//! Text of others, on its way to a terminal.
//!
//! Invariants: what is appended neither moves the cursor nor turns the direction of a line.

/// Appends a character, escaped if a terminal would obey it.
pub fn push(c: char, out: &mut String) {
    // Separators and direction marks can forge lines as well.
    if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}') {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let mut out = String::new();
        "a\u{1b}\n\u{85}\u{202e}é\"".chars().for_each(|c| push(c, &mut out));
        assert_eq!(out, "a\\u{1b}\\n\\u{85}\\u{202e}é\"");
    }
}
