//! Upstream event streams: one connection in, a channel that any number of clients read.
