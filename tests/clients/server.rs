//! The real server as a process of its own, which can be killed and started again on its port.

use crate::process::PATIENCE;
use crate::process::Process;
use crate::process::until;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

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

/// A server that can be killed and started again on its port.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    hub: String,
    folder: Folder,
}

impl Server {
    /// Starts a server with these settings of the hub, besides short reconnects and gap events.
    #[track_caller]
    pub(crate) fn start(hub: &str) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = Folder::new();
        let mut server = Self { address: any, process: None, hub: hub.to_owned(), folder };
        server.restart();
        server
    }

    /// Kills the server, if it runs: its memory is gone, its connections are reset.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the port that it had, and waits until it listens.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.kill();
        let text = format!(
            "listen = \"{}\"\nadmin = \"off\"\nworkers = 1\n\n[hub]\nretry = \"200ms\"\n\
             gap_event = \"gap\"\n{}\n",
            self.address, self.hub
        );
        let config = self.folder.file("tidegate.toml", &text);
        let serve = || Process::tidegate(&["serve", "--config", &config]);
        let mut process = serve();
        self.address = until("the server to listen", || {
            // While it was down, the port may have gone to an outgoing connection for a moment.
            if process.err().contains("Address already in use") {
                process = serve();
            }
            let said = process.err();
            let Some((_, after)) = said.split_once("listening on http://") else {
                assert!(process.is_running(), "the server ended: {}", process.err());
                return None;
            };
            after.split_once(char::is_whitespace)?.0.trim_end_matches('/').parse().ok()
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
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    // By its length: not every server heeds `Connection: close`.
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let whole = length.is_some_and(|(_, digits)| digits.trim().parse() == Ok(body.len()));
        let count = if whole { Ok(0) } else { stream.read(&mut block) };
        let count = match count {
            // With a timeout set, the kernel does not go on by itself after a signal.
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            return Ok((status, body.to_owned()));
        }
        answer.extend_from_slice(&block[..count]);
    }
}
