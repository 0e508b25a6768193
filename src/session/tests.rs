//! A session with bytes in hand: every row of the protocol, and any cut of the input.
