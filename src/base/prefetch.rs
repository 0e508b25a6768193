//! Asking for memory before it is needed: with very many streams none of it is in a cache, and to
//! wait for one line after the other costs more than the work with them.
//!
//! # Safety
//! The processor's instruction has no safe counterpart. It takes any address, changes nothing that
//! a program can see, and never faults; the addresses below come from a reference all the same.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for all of a value. Without effect on processors other than x86-64.
#[inline]
pub fn prefetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    for back in lines(start.addr(), size_of::<T>()) {
        touch(start.wrapping_byte_offset(back));
    }
}

/// Where the lines of `size` bytes at `address` begin, from there.
fn lines(address: usize, size: usize) -> impl Iterator<Item = isize> {
    let before = address % LINE;
    (0..before + size).step_by(LINE).map(move |at| at.cast_signed() - before.cast_signed())
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn touch(at: *const i8) {
    // SAFETY: as the header says.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn touch(_: *const i8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_value_is_asked_for_once() {
        let of = |address, size| lines(address, size).collect::<Vec<_>>();
        assert_eq!(of(128, 64), [0]);
        assert_eq!(of(128, 65), [0, 64]);
        assert_eq!(of(191, 1), [-63]);
        assert_eq!(of(191, 2), [-63, 1]);
        assert_eq!(of(136, 352), [-8, 56, 120, 184, 248, 312]);
    }
}
