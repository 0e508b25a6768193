//! Backends while the process runs: addresses, health, and which endpoint a request goes to.
