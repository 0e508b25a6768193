//! A proxy that cuts connections at any byte.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use tidegate::base::chance::Chance;

/// Forwards to a server; from `cut` on, every connection breaks after so many bytes.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cutting: AtomicBool,
    cuts: AtomicUsize,
}

impl Proxy {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let mut chance = Chance::new(7);
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let budget = usize::try_from(500 + chance.below(4000)).unwrap();
                let state = Arc::clone(&shared);
                std::thread::spawn(move || forward(client, server, budget, &state));
            }
        });
        Self { address, state }
    }

    /// From now on connections break.
    pub(crate) fn cut(&self) {
        self.state.cutting.store(true, Ordering::SeqCst);
    }

    /// From now on they hold again; answers how many broke.
    pub(crate) fn mend(&self) -> usize {
        self.state.cutting.store(false, Ordering::SeqCst);
        self.state.cuts.load(Ordering::SeqCst)
    }
}

fn forward(client: TcpStream, server: SocketAddr, mut budget: usize, state: &State) {
    let Ok(server) = TcpStream::connect(server) else { return };
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (server, client);
    let mut block = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut block) {
        let cutting = state.cutting.load(Ordering::SeqCst);
        let pass = if cutting { count.min(budget) } else { count };
        if to.write_all(&block[..pass]).is_err() {
            break;
        }
        if cutting {
            budget -= pass;
            if budget == 0 {
                state.cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
