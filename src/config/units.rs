//! Units that people write: durations (`15s`), sizes (`64KiB`), lists of CPUs (`0-3,8`).
//!
//! Invariants: what `show_*` prints, `parse_*` reads back as the same value. Nothing here rounds.

use std::fmt::Write;
use std::time::Duration;

/// Units of time and their milliseconds, largest first.
const SPANS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size and their bytes, largest first.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// CPUs that one list may name; the kernel's largest set is of this order.
const CPUS_MAX: usize = 8192;

/// Reads `15s`, `5m`, `250ms`, `2h`, `1d` or `0s`, whole numbers with a unit; and sums of those, as
/// the Gateway API writes them (GEP-2257): `1h30m`.
#[must_use]
pub fn parse_span(text: &str) -> Option<Duration> {
    parse(text, &SPANS).or_else(|| parse_sum(text)).map(Duration::from_millis)
}

/// GEP-2257: `^([0-9]{1,5}(h|m|s|ms)){1,4}$`, in any order.
fn parse_sum(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum: u64 = 0;
    for _ in 0..4 {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits <= 5)?;
        let end = rest.get(digits..)?.find(|c: char| c.is_ascii_digit());
        let (part, after) = rest.split_at(end.map_or(rest.len(), |end| digits + end));
        if part.contains([' ', 'd']) {
            return None;
        }
        sum = sum.checked_add(parse(part, &SPANS)?)?;
        rest = after;
        if rest.is_empty() {
            return Some(sum);
        }
    }
    None
}

/// Reads `64KiB`, `1MiB`, `2GiB`, `100B` or a plain count of bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    text.trim().parse().ok().or_else(|| parse(text, &SIZES))
}

/// Prints a duration in the largest unit that divides it.
#[must_use]
pub fn show_span(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0s".to_owned() } else { show(millis, &SPANS) }
}

/// Prints a size in the largest unit that divides it; below 1 KiB as a plain number of bytes.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let text = show(bytes, &SIZES);
    if text.ends_with("iB") { text } else { bytes.to_string() }
}

/// A size for the eye: one place behind the point, cut off.
#[must_use]
pub fn round_size(bytes: u64) -> String {
    for (unit, factor) in SIZES {
        if bytes >= factor && factor > 1 {
            let tenths = u128::from(bytes) * 10 / u128::from(factor);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// Reads `0-3,8`: single CPUs and ascending ranges, at least one.
#[must_use]
pub fn parse_cpus(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
        if cpus.len() > CPUS_MAX {
            return None;
        }
    }
    Some(cpus)
}

/// Prints CPUs, in their order, with ranges where they ascend.
#[must_use]
pub fn show_cpus(cpus: &[usize]) -> String {
    let mut text = String::new();
    let mut rest = cpus.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|&next| next == last + 1) {
            last = next;
        }
        let comma = if text.is_empty() { "" } else { "," };
        let wrote = match last - first {
            0 => write!(text, "{comma}{first}"),
            _ => write!(text, "{comma}{first}-{last}"),
        };
        wrote.expect("a String takes everything");
    }
    text
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    for (unit, factor) in units {
        if amount.is_multiple_of(*factor) && amount >= *factor {
            return format!("{}{unit}", amount / factor);
        }
    }
    amount.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_a_unit_only() {
        assert_eq!(parse_span("15s"), Some(Duration::from_secs(15)));
        assert_eq!(parse_span(" 5 m "), Some(Duration::from_secs(300)));
        assert_eq!(parse_span("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_span("0s"), Some(Duration::ZERO));
        for bad in ["", "15", "s", "1.5s", "-1s", "15sec", "99999999999999999d"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }

    /// The table of GEP-2257.
    #[test]
    fn durations_of_the_gateway_api_are_sums() {
        for (text, shown) in [
            ("0h", "0s"),
            ("0h0m0s", "0s"),
            ("1h", "1h"),
            ("2h30m", "150m"),
            ("7230s", "7230s"),
            ("1h30m10s", "5410s"),
            ("10s30m1h", "5410s"),
            ("100ms200ms300ms", "600ms"),
        ] {
            assert_eq!(show_span(parse_span(text).unwrap()), shown, "{text}");
        }
        for bad in ["1", "1m1", "1h30m10s20ms50h", "999999h1m", "1.5h", "-15m", "0", "1h2d", "m1"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
        assert_eq!(parse_span("1h 30m"), None);
    }

    #[test]
    fn sizes_are_read_with_or_without_a_unit() {
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("1 MiB"), Some(1 << 20));
        assert_eq!(parse_size("100B"), Some(100));
        assert_eq!(parse_size("100"), Some(100));
        for bad in ["", "64KB", "64k", "-1", "1.5MiB", "99999999999999GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
        assert_eq!(round_size(1_600_000), "1.5 MiB");
        assert_eq!(round_size(900), "900 B");
        assert_eq!(round_size(80 * 1024), "80.0 KiB");
        assert_eq!(round_size(u64::MAX), "17179869183.9 GiB");
    }

    #[test]
    fn cpus_are_single_or_ascending() {
        assert_eq!(parse_cpus("0-3,8"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_cpus("8, 0 - 1"), Some(vec![8, 0, 1]));
        for bad in ["", "a", "3-1", "1,", "0-99999999", "-1", "0-3-5"] {
            assert_eq!(parse_cpus(bad), None, "{bad}");
        }
        assert_eq!(show_cpus(&[0, 1, 2, 3, 8, 2]), "0-3,8,2");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0..10_u64.pow(12), bytes: u32, shift in 0..20_u32) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse_span(&show_span(span)), Some(span));
            let bytes = u64::from(bytes) << shift;
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn cpus_read_back(cpus in proptest::collection::vec(0..64_usize, 1..20)) {
            prop_assert_eq!(parse_cpus(&show_cpus(&cpus)), Some(cpus));
        }
    }
}
