//! The load itself: subscribers, publishers, and the swarm of threads and processes they run in.

pub mod answers;
pub mod board;
pub mod outcome;
pub mod publisher;
pub mod subscriber;
pub mod swarm;
pub mod verdict;
