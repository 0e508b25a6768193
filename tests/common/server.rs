//! The server under test: the real program in its own process.

use super::Io;
use super::eventually;
use super::peer::Peer;
use super::peer::Response;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

pub const HUB: &str = "/.well-known/mercure";

pub struct Server {
    child: Child,
    config: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    printed: Arc<Mutex<Vec<String>>>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Server {
    /// A server with these settings (top-level keys first, then sections).
    pub fn start(io: Io, settings: &str) -> Self {
        Self::start_limited(io, settings, None)
    }

    /// The same, with at most so many open files.
    pub fn start_limited(io: Io, settings: &str, files_max: Option<u32>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-{}-{number}.toml", std::process::id());
        let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut text = String::from("listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n");
        if !settings.contains("workers =") {
            text.push_str("workers = 2\n");
        }
        std::fs::write(&config, text + settings).unwrap();
        let binary = env!("CARGO_BIN_EXE_tidegate");
        let mut command = match files_max {
            None => Command::new(binary),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\"")).arg(binary);
                shell
            }
        };
        command.args(["serve", "--io", io.name(), "--config"]).arg(&config);
        command.stdout(Stdio::null());
        Self::spawn(command, config)
    }

    /// The server of a command that makes its own configuration, as `fanout URL`.
    pub fn of_command(io: Io, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).args(["--io", io.name(), "--workers", "2"]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.stdout(Stdio::piped());
        Self::spawn(command, PathBuf::new())
    }

    fn spawn(mut command: Command, config: PathBuf) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server's binary starts");
        let lines = collect(child.stderr.take());
        let printed = collect(child.stdout.take());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, config, lines, printed, address: nowhere, admin: nowhere };
        server.address = server.url("listening on http://", false);
        server.admin = server.url("http://", true);
        server
    }

    /// The address behind `before` in a line that does (not) speak of the admin listener.
    fn url(&mut self, before: &str, admin: bool) -> SocketAddr {
        eventually("the line with the address", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended at start: {status}\n{}", self.log());
            }
            self.lines.lock().unwrap().iter().find_map(|line| {
                let rest = &line[line.find(before)? + before.len()..];
                let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
                let address = rest[..end.unwrap_or(rest.len())].parse().ok()?;
                (line.contains("admin") == admin).then_some(address)
            })
        })
    }

    /// The addresses of all listeners for clients, in the order of the log.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        let lines = self.lines.lock().unwrap();
        let ours = lines.iter().filter(|line| !line.contains("admin"));
        let words = ours.flat_map(|line| line.split_whitespace());
        let urls = words.filter_map(|word| word.strip_prefix("http://")?.parse().ok());
        urls.collect()
    }

    /// What it printed before it served.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().join("\n")
    }

    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until the log says this, and gives it.
    #[track_caller]
    pub fn await_log(&self, text: &str) -> String {
        eventually(text, || Some(self.log()).filter(|log| log.contains(text)))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Waits until the process ends.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of the process", || child.try_wait().unwrap())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Bytes that the kernel holds unsent or unacknowledged for the server's connections.
    pub fn kernel_bytes(&self) -> u64 {
        let port = format!(":{:04X}", self.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let ours = rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&port)));
        ours.map(|row| u64::from_str_radix(row[4].split(':').next().unwrap(), 16).unwrap()).sum()
    }

    /// The sum of a metric's series; `labels` must all occur in a series' labels.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let response = self.admin_get("/metrics");
        assert_eq!(response.status, 200);
        let text = String::from_utf8(response.body).unwrap();
        let mut known = false;
        let mut sum = 0.0;
        for line in text.lines() {
            known |= line.starts_with(&format!("# TYPE {name} "));
            let Some(rest) = line.strip_prefix(name) else { continue };
            if !rest.starts_with(['{', ' ']) || !rest.contains(labels) {
                continue;
            }
            sum += rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
        assert!(known, "no metric {name}");
        sum
    }

    /// Waits until a metric reaches a value.
    #[track_caller]
    pub fn await_metric(&self, name: &str, labels: &str, at_least: f64) {
        let what = format!("{name}{{{labels}}} of at least {at_least}");
        eventually(&what, || (self.metric(name, labels) >= at_least).then_some(()));
    }

    /// Waits until so many subscribers are connected, no more and no fewer.
    #[track_caller]
    pub fn await_clients(&self, count: usize) {
        let want = count as f64;
        eventually(&format!("{count} clients"), || {
            let now = self.metric("tidegate_clients_connected", "");
            ((now - want).abs() < 0.5).then_some(())
        });
    }

    pub fn admin_get(&self, path: &str) -> Response {
        let mut peer = Peer::connect(self.admin);
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"));
        peer.response()
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, target: &str, fields: &str, body: &str) -> Response {
        let mut peer = Peer::connect(self.address);
        peer.request(method, target, fields, body)
    }

    /// Publishes on a connection of its own and returns the id.
    #[track_caller]
    pub fn publish(&self, form: &[(&str, &str)]) -> String {
        Publisher::open(self).publish(form)
    }
}

/// The lines of a pipe, as they come.
fn collect(pipe: Option<impl std::io::Read + Send + 'static>) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    if let Some(pipe) = pipe {
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(pipe).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
    }
    lines
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
        if std::thread::panicking() {
            eprintln!("--- server log ---\n{}\n--- end ---", self.log());
        }
    }
}

/// A publisher's connection, kept alive between publishes.
pub struct Publisher {
    peer: Peer,
    fields: String,
}

impl Publisher {
    pub fn open(server: &Server) -> Self {
        Self { peer: Peer::connect(server.address), fields: String::new() }
    }

    pub fn with_token(server: &Server, token: &str) -> Self {
        let fields = format!("Authorization: Bearer {token}\r\n");
        Self { peer: Peer::connect(server.address), fields }
    }

    pub fn post(&mut self, form: &[(&str, &str)]) -> Response {
        let body = encode(form);
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.peer.request("POST", HUB, &format!("{kind}{}", self.fields), &body)
    }

    /// The same, where the connection may be closed already.
    pub fn try_post(&mut self, form: &[(&str, &str)]) -> Option<Response> {
        let (body, fields) = (encode(form), &self.fields);
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        let length = body.len();
        let head = format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{kind}{fields}");
        if !self.peer.try_send(format!("{head}Content-Length: {length}\r\n\r\n{body}")) {
            return None;
        }
        let mut response = self.peer.try_head()?;
        self.peer.body(&mut response);
        Some(response)
    }

    /// Publishes and returns the id.
    #[track_caller]
    pub fn publish(&mut self, form: &[(&str, &str)]) -> String {
        let response = self.post(form);
        let text = response.text();
        assert_eq!(response.status, 200, "{text}");
        text
    }
}

pub fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
