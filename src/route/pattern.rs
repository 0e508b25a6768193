//! Regular expressions that must match the whole of a text.
//!
//! Invariants: who read the configuration compiled every expression once; one that fails here all
//! the same (a size limit that differs, say) matches nothing. Time is linear in the text.

use crate::base::map::Hasher;
use crate::base::map::Map;
use crate::config::form::PATTERN_CACHE_MAX;
use crate::config::form::PATTERN_SIZE_MAX;

/// Twice what the reader of the configuration allows: what it took is not refused here over the
/// little by which the size of one kind of expression differs from that of the other.
const SIZE_MAX: usize = 2 * PATTERN_SIZE_MAX;

/// Compiled expressions by their text: many matches share one.
#[derive(Debug)]
pub(super) struct Patterns {
    text: Map<String, Option<regex::Regex>>,
    bytes: Map<String, Option<regex::bytes::Regex>>,
}

impl Patterns {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self { text: hasher.map(), bytes: hasher.map() }
    }

    /// For paths.
    pub(super) fn text(&mut self, pattern: &str) -> Option<regex::Regex> {
        if let Some(known) = self.text.get(pattern) {
            return known.clone();
        }
        let build = |p: &String| {
            regex::RegexBuilder::new(p)
                .size_limit(SIZE_MAX)
                .dfa_size_limit(PATTERN_CACHE_MAX)
                .build()
        };
        let compiled = whole(pattern).iter().find_map(|p| build(p).ok());
        self.text.insert(pattern.to_owned(), compiled.clone());
        compiled
    }

    /// For values of fields and parameters, which need not be UTF-8.
    pub(super) fn bytes(&mut self, pattern: &str) -> Option<regex::bytes::Regex> {
        if let Some(known) = self.bytes.get(pattern) {
            return known.clone();
        }
        let build = |p: &String| {
            regex::bytes::RegexBuilder::new(p)
                .size_limit(SIZE_MAX)
                .dfa_size_limit(PATTERN_CACHE_MAX)
                .build()
        };
        let compiled = whole(pattern).iter().find_map(|p| build(p).ok());
        self.bytes.insert(pattern.to_owned(), compiled.clone());
        compiled
    }
}

/// The expression between anchors. The second form is for one that ends in a comment (`(?x)`),
/// which would swallow what closes it.
fn whole(pattern: &str) -> [String; 2] {
    [format!(r"\A(?:{pattern})\z"), format!("\\A(?:{pattern}\n)\\z")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_the_whole_or_nothing() {
        let mut patterns = Patterns::new(&Hasher::new(1));
        let cases = [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("^/x$", "/x", true),
            ("/x", "/x\n", false),
            ("(?m)^b$", "a\nb", false),
            ("(?x) a b # as one", "ab", true),
            ("(?x) a b # as one", "ab\n", false),
            ("(unclosed", "(unclosed", false),
        ];
        for (pattern, text, want) in cases {
            for _ in 0..2 {
                let found = patterns.text(pattern).is_some_and(|p| p.is_match(text));
                assert_eq!(found, want, "{pattern} on {text:?}");
                let found = patterns.bytes(pattern).is_some_and(|p| p.is_match(text.as_bytes()));
                assert_eq!(found, want, "{pattern} on the bytes of {text:?}");
            }
        }
        assert!(patterns.bytes(r"(?-u:\xff)+").unwrap().is_match(b"\xff\xff"));
    }
}
