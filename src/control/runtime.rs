//! The control thread's runtime: tokio-uring's where a ring can be had, else plain tokio.
//!
//! Invariants: both run the same futures on this thread alone, with a local task set. The ring is
//! plain (no `DEFER_TASKRUN`: tokio-uring 0.5 hangs with it). Futures that are dropped here hold
//! no operation of the ring: sockets and signals go through tokio's readiness on both.

use crate::metrics::log::Log;
use std::future::Future;
use std::io;
use tokio::task::LocalSet;

/// One of the two.
pub(super) enum Runtime {
    /// tokio with a ring beside it.
    Uring(Box<tokio_uring::Runtime>),
    /// tokio alone.
    Plain(tokio::runtime::Runtime, LocalSet),
}

/// Operations of files that may wait in the ring; control has few.
const ENTRIES: u32 = 32;

impl Runtime {
    /// Takes tokio-uring's runtime if `uring` asks for it and the kernel gives a ring.
    ///
    /// # Errors
    /// Not even plain tokio can be had (no descriptors, no memory).
    pub(super) fn open(uring: bool, log: &Log) -> io::Result<Self> {
        if uring {
            match tokio_uring::Runtime::new(tokio_uring::builder().entries(ENTRIES)) {
                Ok(runtime) => return Ok(Self::Uring(Box::new(runtime))),
                Err(error) => {
                    log.info("control_without_ring", &[("runtime", &"tokio"), ("cause", &error)]);
                }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self::Plain(runtime, LocalSet::new()))
    }

    /// Runs a future to its end; tasks that it left behind are dropped with the runtime.
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Uring(runtime) => runtime.block_on(future),
            Self::Plain(runtime, local) => local.block_on(runtime, future),
        }
    }
}
