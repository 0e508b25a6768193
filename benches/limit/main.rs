//! The bare send loop: what it costs the kernel to hand the same bytes to N sockets, with nothing
//! else around it. Every server's cost is compared with this.
//!
//! ```text
//! cargo bench --bench limit -- --io uring --port 8090 &
//! tidegate bench --server-publishes -n 5000 --rate 20 --pid $! \
//!     --subscribe-url http://127.0.0.1:8090/ --publish-url http://127.0.0.1:8090/ \
//!     --body '{run} {events} {rate} {size}'
//! ```
//!
//! `--rate` of the load generator paces it; 0 is flat out. With `--replay` each GET is answered
//! with all events at once, in sends of 100 KB.

#![allow(clippy::print_stdout, reason = "a measuring tool talks to people")]

mod ring;
mod server;

fn main() {
    // `cargo test --benches` runs this without arguments; there is nothing to test.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.is_empty() {
        println!("usage: limit --io uring|epoll --port PORT [--id-bytes N] [--replay]");
        return;
    }
    server::run(&server::Options::parse(&arguments));
}
