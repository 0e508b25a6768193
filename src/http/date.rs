//! The `Date` field's text, made once a second.
//!
//! Invariants: always 29 ASCII bytes, IMF-fixdate (RFC 9110 section 5.6.7), in UTC.

/// The text of one second.
#[derive(Clone, Copy, Debug)]
pub struct Date {
    second: u64,
    text: [u8; 29],
}

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

impl Default for Date {
    fn default() -> Self {
        Self::new()
    }
}

impl Date {
    /// The epoch's.
    #[must_use]
    pub const fn new() -> Self {
        Self { second: 0, text: *b"Thu, 01 Jan 1970 00:00:00 GMT" }
    }

    /// The text for this many milliseconds since the Unix epoch; made anew once a second.
    pub fn text(&mut self, unix_millis: u64) -> &str {
        let second = unix_millis / 1000;
        if second != self.second {
            self.second = second;
            self.text = render(second);
        }
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

/// Civil date from days since the epoch, by 400-year eras that begin in March.
fn render(second: u64) -> [u8; 29] {
    let (days, of_day) = (second / 86_400, second % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let name = |n: u64, names: &'static [&'static [u8; 3]]| {
        usize::try_from(n).ok().and_then(|n| names.get(n)).map_or(*b"???", |name| **name)
    };
    let [d0, d1] = two(day);
    let [h0, h1] = two(of_day / 3600);
    let [m0, m1] = two(of_day / 60 % 60);
    let [s0, s1] = two(of_day % 60);
    let [c0, c1] = two(year / 100 % 100);
    let [y0, y1] = two(year % 100);
    let [w0, w1, w2] = name(days % 7, &DAYS);
    let [n0, n1, n2] = name(month, &MONTHS);
    [
        w0, w1, w2, b',', b' ', d0, d1, b' ', n0, n1, n2, b' ', c0, c1, y0, y1, b' ', h0, h1, b':',
        m0, m1, b':', s0, s1, b' ', b'G', b'M', b'T',
    ]
}

fn two(n: u64) -> [u8; 2] {
    let digit = |n: u64| b'0' + u8::try_from(n % 10).unwrap_or(0);
    [digit(n / 10), digit(n)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let mut date = Date::new();
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ];
        for (second, text) in cases {
            assert_eq!(date.text(second * 1000 + 999), text);
        }
    }
}
