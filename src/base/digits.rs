//! Numbers as text, for the paths on which formatting would cost more than the rest.

/// Room for every number in any radix from 8 on: 2⁶⁴ − 1 has 22 octal digits.
pub type Room = [u8; 22];

/// The digits of a number, lower case, without leading zeros; `radix` is 8 to 16.
pub fn digits(number: u64, radix: u64, room: &mut Room) -> &[u8] {
    debug_assert!((8..=16).contains(&radix), "no room for radix {radix}");
    let mut rest = number;
    let mut first = room.len();
    for (place, digit) in room.iter_mut().enumerate().rev() {
        let value = u8::try_from(rest % radix).unwrap_or(0);
        *digit = if value < 10 { b'0' + value } else { b'a' - 10 + value };
        (first, rest) = (place, rest / radix);
        if rest == 0 {
            break;
        }
    }
    room.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_formatter_writes_them() {
        for number in [0, 7, 8, 9, 10, 15, 16, 99, 100, 255, 4096, u64::MAX] {
            let of = |radix| String::from_utf8(digits(number, radix, &mut [0; 22]).into()).unwrap();
            let want = [format!("{number:o}"), number.to_string(), format!("{number:x}")];
            assert_eq!([8, 10, 16].map(of), want);
        }
    }
}
