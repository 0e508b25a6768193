//! One request passed to a backend and its response passed back, as the bytes come; no I/O.
