//! Words that every floor uses: time, chance, generational slabs, seeded maps, phases, redaction.
//!
//! Invariants: knows nothing of SSE, HTTP or the kernel; no I/O apart from `time::SystemClock`
//! reading the clock and `chance::Chance::from_system` reading the system's entropy.

pub mod chance;
pub mod map;
pub mod phase;
pub mod redact;
pub mod slots;
pub mod sync;
pub mod time;
pub mod wheel;
