//! The page at `/`: a live view of the hub and a box to publish from.
//!
//! Invariants: one document, nothing loaded from elsewhere. Its policy names the hashes of its one
//! style and one script, so nothing that an event or an id holds can run; a test recomputes them,
//! and its failure prints what to write here.

/// The page's content security policy.
pub const PAGE_CSP: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
    style-src 'sha256-H3ztk9ZZQlSBDWyeMQabZPCH4LfFxmLnfz1BjXiI7wo='; \
    script-src 'sha256-xxy1o5AdtyqoeoAX1a58XpgBFij58eVYYdqVZREMtVM='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("page.html");

/// The hub's page, which listens for gap events of this type.
#[must_use]
pub fn page(gap_event: Option<&str>) -> String {
    fill(gap_event, "")
}

/// The page of a shared event stream at this path, which listens for gap events of this type.
#[must_use]
pub fn stream_page(path: &str, gap_event: Option<&str>) -> String {
    fill(gap_event, path)
}

fn fill(gap_event: Option<&str>, stream: &str) -> String {
    let gap_event = escape(gap_event.unwrap_or_default());
    PAGE.replace("{{gap-event}}", &gap_event).replace("{{stream}}", &escape(stream))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '{' => escaped.push_str("&#123;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between<'p>(page: &'p str, from: &str, to: &str) -> &'p str {
        page.split_once(from).unwrap().1.split_once(to).unwrap().0
    }

    #[test]
    fn the_policy_names_the_hashes_of_style_and_script() {
        for (from, to) in [("<style>", "</style>"), ("<script>", "</script>")] {
            let hash = base64(&sha256(between(PAGE, from, to).as_bytes()));
            assert!(PAGE_CSP.contains(&format!("'sha256-{hash}'")), "{from}: sha256-{hash}");
            assert_eq!(PAGE.matches(from).count(), 1);
        }
    }

    #[test]
    fn nothing_is_loaded_or_run_from_elsewhere() {
        let markup = PAGE.replace("http://www.w3.org/2000/svg", "");
        for never in ["http://", "https://", "@import", "url(", " src=", " style=", " onclick="] {
            assert!(!markup.contains(never), "{never}");
        }
        assert!(!PAGE.contains("innerHTML"));
    }

    #[test]
    fn the_gap_type_cannot_leave_its_attribute() {
        assert!(page(None).contains("content=\"\""));
        let hostile = page(Some("\"><script>x</script>&"));
        assert!(hostile.contains("&quot;&gt;&lt;script&gt;x&lt;/script&gt;&amp;"));
        assert_eq!(hostile.matches("<script>").count(), 1);
    }

    #[test]
    fn the_test_s_own_hash_is_right() {
        let hex: String = sha256(b"abc").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(base64(b"abcd"), "YWJjZA==");
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word = (0..3).fold(0_u32, |w, n| w << 8 | u32::from(*chunk.get(n).unwrap_or(&0)));
            for n in 0..4 {
                let letter = LETTERS[(word >> (18 - 6 * n)) as usize & 63];
                text.push(if n <= chunk.len() { char::from(letter) } else { '=' });
            }
        }
        text
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "wanted")]
    fn fraction(root: f64) -> u32 {
        (root.fract() * 4_294_967_296.0) as u32
    }

    /// FIPS 180-4; the constants are derived, as the standard does it.
    fn sha256(message: &[u8]) -> [u8; 32] {
        let primes = || (2_u32..).filter(|n| (2..*n).all(|d| n % d != 0));
        let k: Vec<u32> = primes().take(64).map(|p| fraction(f64::from(p).cbrt())).collect();
        let mut h: Vec<u32> = primes().take(8).map(|p| fraction(f64::from(p).sqrt())).collect();
        let mut padded = message.to_vec();
        padded.push(0x80);
        padded.resize(padded.len().next_multiple_of(64), 0);
        if padded.len() < message.len() + 9 {
            padded.resize(padded.len() + 64, 0);
        }
        let at = padded.len() - 8;
        padded[at..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
        for block in padded.chunks(64) {
            let mut w: Vec<u32> =
                block.chunks(4).map(|b| u32::from_be_bytes(b.try_into().unwrap())).collect();
            for t in 16..64 {
                let (x, y) = (w[t - 15], w[t - 2]);
                let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
                let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ y >> 10;
                w.push(w[t - 16].wrapping_add(s0).wrapping_add(w[t - 7]).wrapping_add(s1));
            }
            let mut v = h.clone();
            for t in 0..64 {
                let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
                let choice = v[4] & v[5] ^ !v[4] & v[6];
                let sum = v[7].wrapping_add(s1).wrapping_add(choice).wrapping_add(k[t]);
                let t1 = sum.wrapping_add(w[t]);
                let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
                let t2 = s0.wrapping_add(v[0] & v[1] ^ v[0] & v[2] ^ v[1] & v[2]);
                v.rotate_right(1);
                v[4] = v[4].wrapping_add(t1);
                v[0] = t1.wrapping_add(t2);
            }
            h.iter_mut().zip(v).for_each(|(h, v)| *h = h.wrapping_add(v));
        }
        let bytes: Vec<u8> = h.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.try_into().unwrap()
    }
}
