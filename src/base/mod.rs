//! Words that every floor uses: time, chance, generational slabs, seeded maps, phases, redaction,
//! digits, text for terminals, prefetching.
//!
//! Invariants: knows nothing of SSE, HTTP or the kernel; no I/O apart from `time::SystemClock`
//! reading the clock and `chance::Chance::from_system` reading the system's entropy.

pub mod chance;
pub mod digits;
pub mod map;
pub mod phase;
#[allow(unsafe_code, reason = "the processor's instruction has no safe counterpart")]
pub mod prefetch;
pub mod redact;
pub mod shown;
pub mod slots;
pub mod sync;
pub mod time;
pub mod wheel;
