//! Dates of HTTP: the `Date` field's text, made once a second, and the three forms that are read.
//!
//! Invariants: what is written is always 29 ASCII bytes, IMF-fixdate (RFC 9110 section 5.6.7), in
//! UTC. What is read is a date that exists.

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

/// Seconds since the Unix epoch of a date in one of the three forms of RFC 9110 section 5.6.7.
/// `None`: it is none, or lies before the epoch. The day of the week is not checked.
#[must_use]
pub fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let Some((_, rest)) = text.split_once(", ") else {
        // Sun Nov  6 08:49:37 1994
        let mut parts = text.split_ascii_whitespace().skip(1);
        let (month, day, time) = (parts.next()?, parts.next()?, parts.next()?);
        let year = number(parts.next()?, 4)?;
        return seconds(number(day, day.len().min(2))?, month, year, time)
            .filter(|_| parts.next().is_none());
    };
    let (date, time) = rest.strip_suffix(" GMT")?.rsplit_once(' ')?;
    if let Some((day, rest)) = date.split_once('-') {
        // Sunday, 06-Nov-94 08:49:37 GMT
        let (month, year) = rest.split_once('-')?;
        let year = number(year, 2)?;
        let century = if year < 70 { 2000 } else { 1900 };
        return seconds(number(day, 2)?, month, century + year, time);
    }
    // Sun, 06 Nov 1994 08:49:37 GMT
    let (day, rest) = date.split_once(' ')?;
    let (month, year) = rest.split_once(' ')?;
    seconds(number(day, 2)?, month, number(year, 4)?, time)
}

/// The inverse of [`render`], for a month by name and a time as `HH:MM:SS`.
fn seconds(day: u64, month: &str, year: u64, time: &str) -> Option<u64> {
    let at = MONTHS.iter().position(|name| name.as_slice() == month.as_bytes())?;
    let month = u64::try_from(at).ok()? + 1;
    let leap = year.is_multiple_of(400) || (year.is_multiple_of(4) && !year.is_multiple_of(100));
    let last = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (hour, rest) = time.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    // A leap second is the first second of the next minute.
    let exists = (1..=last).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if year < 1970 || !exists {
        return None;
    }
    let march_year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = era * 146_097 + of_era - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    let valid = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| valid)
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

    #[test]
    fn what_is_written_is_read() {
        let mut date = Date::new();
        for step in 0..20_000 {
            let second = step * 400_009;
            assert_eq!(parse(date.text(second * 1000).as_bytes()), Some(second));
        }
    }

    #[test]
    fn three_forms_are_read_and_nothing_else() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Tuesday, 19-Jan-38 03:14:08 GMT"), Some(2_147_483_648));
        for bad in [
            "",
            "Sun",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994 GMT",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
