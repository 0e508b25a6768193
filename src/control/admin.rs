//! Admin HTTP's connections: few, short, and none can hold up another.
//!
//! Invariants: at most [`CONNECTIONS_MAX`] at once (the oldest makes room for the newest, so that
//! stalled peers do not lock a scraper out), each with one deadline for everything.

use super::answer;
use super::answer::Site;
use crate::base::time::Clock;
use crate::metrics::log::Log;
use crate::metrics::log::Throttle;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// From accept to the end of a connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long an answered peer may take to close.
const LINGER: Duration = Duration::from_secs(1);
/// The pause after the kernel could not accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings that accepting fails.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The runtime's form of the listener.
///
/// # Errors
/// The listener cannot be made non-blocking or registered.
pub(super) fn listener(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepts and answers for ever.
pub(super) async fn serve(listener: TcpListener, site: Rc<Site>, clock: &dyn Clock, log: &Log) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    let mut throttle = Throttle::new(WARN_INTERVAL);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|task| !task.is_finished());
                if open.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                open.push_back(tokio::task::spawn_local(connection(stream, Rc::clone(&site))));
            }
            Err(error) => {
                let fields: [(&str, &dyn std::fmt::Display); 1] = [("cause", &error)];
                log.warn_rarely(&mut throttle, clock.now(), "admin_accept_failed", &fields);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, site: Rc<Site>) {
    // A peer that fails or is late gets nothing more: it is gone, or will ask again.
    let _ = tokio::time::timeout(DEADLINE, exchange(stream, &site)).await;
}

/// One request, one response, an orderly end.
async fn exchange(mut stream: TcpStream, site: &Site) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !answer::complete(&head) && head.len() < answer::HEAD_BYTES_MAX {
        let room = answer::HEAD_BYTES_MAX - head.len();
        if (&mut stream).take(room as u64).read_buf(&mut head).await? == 0 {
            break;
        }
    }
    if head.is_empty() {
        return Ok(());
    }
    stream.write_all(&answer::answer(&head, site)).await?;
    stream.shutdown().await?;
    // What the peer still sends is read away: closing over unread bytes resets the connection,
    // and a reset may take the response with it (RFC 9112 9.6).
    let mut rest = [0; 4096];
    let _ = tokio::time::timeout(LINGER, async {
        while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    Ok(())
}
