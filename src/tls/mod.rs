//! TLS without I/O: sealed bytes in, plain bytes out, and the other way round.
