//! A server behind the gateway, in threads, with the bytes in hand: a backend or an upstream.
//!
//! A handler gets each request with its head read, and answers with whatever bytes it likes. What
//! was asked, how many connections came, and which are open is on record. It never panics for what
//! the gateway does: what is odd is recorded, for the test to find.

use super::PATIENCE;
use super::call::Call;
use super::call::Next;
use super::eventually;
use super::socket::Socket;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The number of the connection that it came on.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    pub fields: Vec<(String, String)>,
    /// The body, as far as the handler read it.
    pub body: Vec<u8>,
    /// Whether the end of the body was seen.
    pub whole: bool,
    pub trailers: Vec<(String, String)>,
}

impl Asked {
    /// All values of a field, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let ours = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        ours.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that occurs at most once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} occurs twice: {:?}", self.fields);
        all.first().copied()
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

type Handler = dyn Fn(&mut Call<'_>) -> Next + Send + Sync;

/// What handlers and the test share.
pub struct State {
    pub(super) asked: Mutex<Vec<Asked>>,
    /// When peers were seen to have gone, by number of the request.
    pub(super) gone: Mutex<Vec<(usize, Instant)>>,
    pub(super) stopped: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    /// Open connections by number, to be shut from outside.
    sockets: Mutex<Vec<(usize, Socket)>>,
    handler: Box<Handler>,
}

/// Where it listens.
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
    Tls(TcpListener, Arc<rustls::ServerConfig>),
}

pub struct Origin {
    address: SocketAddr,
    path: Option<PathBuf>,
    tls: bool,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Origin {
    pub fn start(handler: impl Fn(&mut Call<'_>) -> Next + Send + Sync + 'static) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = door.local_addr().unwrap();
        Self::open_door(Door::Tcp(door), address, None, Box::new(handler))
    }

    /// With small receive buffers: it takes little that it does not read.
    pub fn start_narrow(handler: impl Fn(&mut Call<'_>) -> Next + Send + Sync + 'static) -> Self {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(128).unwrap();
        let door = TcpListener::from(socket);
        let address = door.local_addr().unwrap();
        Self::open_door(Door::Tcp(door), address, None, Box::new(handler))
    }

    /// At a port where another one was before.
    pub fn start_at(
        address: SocketAddr,
        handler: impl Fn(&mut Call<'_>) -> Next + Send + Sync + 'static,
    ) -> Self {
        let door = eventually("the port is free", || TcpListener::bind(address).ok());
        Self::open_door(Door::Tcp(door), address, None, Box::new(handler))
    }

    pub fn start_tls(
        config: Arc<rustls::ServerConfig>,
        handler: impl Fn(&mut Call<'_>) -> Next + Send + Sync + 'static,
    ) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = door.local_addr().unwrap();
        Self::open_door(Door::Tls(door, config), address, None, Box::new(handler))
    }

    pub fn start_unix(
        path: &Path,
        handler: impl Fn(&mut Call<'_>) -> Next + Send + Sync + 'static,
    ) -> Self {
        let _ = std::fs::remove_file(path);
        let door = UnixListener::bind(path).unwrap();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self::open_door(Door::Unix(door), nowhere, Some(path.to_owned()), Box::new(handler))
    }

    fn open_door(
        door: Door,
        address: SocketAddr,
        path: Option<PathBuf>,
        handler: Box<Handler>,
    ) -> Self {
        let state = Arc::new(State {
            asked: Mutex::default(),
            gone: Mutex::default(),
            stopped: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            sockets: Mutex::default(),
            handler,
        });
        let tls = matches!(door, Door::Tls(..));
        let shared = Arc::clone(&state);
        let thread = Some(std::thread::spawn(move || accept(&door, &shared)));
        Self { address, path, tls, state, thread }
    }

    /// Scheme, host and port.
    pub fn url(&self) -> String {
        match &self.path {
            Some(path) => format!("unix:{}", path.display()),
            None if self.tls => format!("https://{}", self.address),
            None => format!("http://{}", self.address),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests whose head came so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.state.open.load(SeqCst)
    }

    /// Waits until so many requests have come; more are a fault.
    #[track_caller]
    pub fn await_asked(&self, count: usize) -> Vec<Asked> {
        let asked = eventually(&format!("{count} requests at the origin"), || {
            Some(self.asked()).filter(|asked| asked.len() >= count)
        });
        assert_eq!(asked.len(), count, "{asked:?}");
        asked
    }

    /// Waits until so many connections are open.
    #[track_caller]
    pub fn await_open(&self, count: usize) {
        eventually(&format!("{count} open connections at the origin"), || {
            (self.open() == count).then_some(())
        });
    }

    /// Waits until the peer of a request, by its number, was seen to have gone.
    #[track_caller]
    pub fn await_gone(&self, number: usize) -> Instant {
        eventually(&format!("the peer of request {number} goes"), || {
            let gone = self.state.gone.lock().unwrap();
            gone.iter().find(|(n, _)| *n == number).map(|(_, at)| *at)
        })
    }

    /// Ends all its connections, as a process that is killed does, and goes on accepting.
    pub fn cut_all(&self) {
        for (_, socket) in self.state.sockets.lock().unwrap().iter() {
            socket.shut();
        }
    }

    /// Ends: no listener, no connection.
    pub fn stop(&mut self) {
        self.state.stopped.store(true, SeqCst);
        match &self.path {
            Some(path) => drop(UnixStream::connect(path)),
            None => drop(TcpStream::connect_timeout(&self.address, PATIENCE)),
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.cut_all();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn accept(door: &Door, state: &Arc<State>) {
    loop {
        let socket = match door {
            Door::Tcp(door) => door.accept().map(|(socket, _)| Socket::Tcp(socket)),
            Door::Unix(door) => door.accept().map(|(socket, _)| Socket::Unix(socket)),
            Door::Tls(door, config) => door.accept().map(|(socket, _)| {
                let session = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                Socket::Tls(Box::new(rustls::StreamOwned::new(session, socket)))
            }),
        };
        if state.stopped.load(SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        let number = state.connections.fetch_add(1, SeqCst);
        state.open.fetch_add(1, SeqCst);
        socket.prepare();
        state.sockets.lock().unwrap().push((number, socket.double()));
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            serve(number, socket, &state);
            state.sockets.lock().unwrap().retain(|(n, _)| *n != number);
            state.open.fetch_sub(1, SeqCst);
        });
    }
}

/// Requests of one connection, until its end. The socket closes with the return.
fn serve(connection: usize, mut socket: Socket, state: &Arc<State>) {
    let mut held = Vec::new();
    while let Some(mut call) = Call::read(connection, &mut socket, &mut held, state) {
        let next = (state.handler)(&mut call);
        match next {
            Next::Keep => {
                if !call.asked.whole && !call.read_body() {
                    return;
                }
            }
            Next::Close => return,
            Next::Reset => return socket.reset(),
        }
    }
}
