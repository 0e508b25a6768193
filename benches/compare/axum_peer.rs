//! An event-stream server as the axum documentation suggests it: one broadcast channel, one stream
//! per client, on tokio's current-thread runtime.
//!
//! The channel is deep enough that a client that keeps reading loses nothing; a client that lags
//! behind it skips events, which the load generator then reports as missing.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::get;
use axum::serve::ListenerExt;
use std::convert::Infallible;
use tokio::sync::broadcast;
use tokio_stream::Stream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

const DEPTH: usize = 16 * 1024;

type Sender = broadcast::Sender<Bytes>;

async fn subscribe(
    State(sender): State<Sender>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = BroadcastStream::new(sender.subscribe());
    Sse::new(events.filter_map(|data| {
        let data = data.ok()?;
        Some(Ok(Event::default().data(String::from_utf8_lossy(&data))))
    }))
}

async fn publish(State(sender): State<Sender>, data: Bytes) -> &'static str {
    let _ = sender.send(data);
    "ok"
}

/// Serves until it is killed.
pub(crate) fn run(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sender = Sender::new(DEPTH);
        let router = Router::new().route("/", get(subscribe).post(publish)).with_state(sender);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], port).into()).expect("the port is taken");
        let listener = socket.listen(4096).unwrap().tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        println!("listening on http://127.0.0.1:{port}");
        axum::serve(listener, router).await.unwrap();
    });
}
