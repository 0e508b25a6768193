//! The real server as a process of its own, which can be killed and started again on its port.

use crate::process::Process;
use crate::process::until;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder that goes with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("clients-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on a port that stays its own while it is down.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    config: String,
    folder: Folder,
    /// Bound and not listening: nobody else gets the port, connections are refused.
    _port: Socket,
}

impl Server {
    /// Starts a server with these settings of the hub, besides short reconnects and gap events.
    pub(crate) fn start(hub: &str) -> Self {
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        port.set_reuse_port(true).unwrap();
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = port.local_addr().unwrap().as_socket().unwrap();
        let folder = Folder::new();
        let text = format!(
            "listen = \"{address}\"\nadmin = \"off\"\nworkers = 1\n\n[hub]\nretry = \"200ms\"\n\
             gap_event = \"gap\"\n{hub}\n"
        );
        let config = folder.file("tidegate.toml", &text);
        let mut server = Self { address, process: None, config, folder, _port: port };
        server.restart();
        server
    }

    /// Kills the server, if it runs: its memory is gone, its connections are reset.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, and waits until it answers.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut process = Process::tidegate(&["serve", "--config", &self.config]);
        until("the server's first answer", || {
            process.assert_running();
            TcpStream::connect(self.address).ok()
        });
        self.process = Some(process);
    }

    /// Where its page is.
    pub(crate) fn home(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn hub(&self) -> String {
        format!("http://{}/.well-known/mercure", self.address)
    }

    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Publishes and gives the id.
    #[track_caller]
    pub(crate) fn publish(&self, topic: &str, data: &str) -> String {
        let body = format!("topic={topic}&data={data}");
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let target = "/.well-known/mercure";
        let (status, answer) = ask(self.address, "POST", target, headers, &body).unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// One request on a connection of its own: status and body.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}
