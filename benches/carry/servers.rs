//! The proxies that are compared, each pinned to one core, configured as an expert would.

use std::fs;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use tidegate::io::poller::monotonic_nanos;

/// Who carries the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// The bare relay loop; whether it receives by poll.
    Bare(bool),
    /// Tidegate as a streaming proxy, over `uring` or `epoll`.
    Relay(&'static str),
    /// The same with `delayed_acks`: the sources of the load set `TCP_NODELAY`.
    RelayDelayed(&'static str),
    /// Tidegate with one shared upstream stream for each client's URL.
    Fanout(&'static str),
    /// nginx with `proxy_buffering off`.
    Nginx,
    /// HAProxy in HTTP mode.
    Haproxy,
}

/// A running server; ended when dropped.
pub(crate) struct Running {
    process: Child,
    directory: PathBuf,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A master process takes its workers with it only if it is asked politely.
        let pid = self.process.id().to_string();
        for signal in ["-TERM", "-TERM", "-KILL"] {
            let _ = Command::new("kill").args([signal, &pid]).status();
            if wait_until(1_000, || matches!(self.process.try_wait(), Ok(Some(_)))) {
                break;
            }
        }
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn wait_until(millis: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = monotonic_nanos() + millis * 1_000_000;
    while !done() {
        if monotonic_nanos() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    true
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Starts a proxy on `port` in front of `upstream`.
pub(crate) fn start(proxy: Proxy, port: u16, upstream: u16, core: &str) -> Result<Running, String> {
    let directory = std::env::temp_dir().join(format!("carry-{port}"));
    fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let command = command(proxy, port, upstream, &directory)?;
    let log = fs::File::create(directory.join("log")).map_err(|e| e.to_string())?;
    let process = Command::new("taskset")
        .args(["-c", core])
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| format!("taskset: {e} (package util-linux)"))?;
    let mut running = Running { process, directory };
    let up = wait_until(5_000, || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
            || matches!(running.process.try_wait(), Ok(Some(_)))
    });
    if up && matches!(running.process.try_wait(), Ok(None)) {
        return Ok(running);
    }
    let log = fs::read_to_string(running.directory.join("log")).unwrap_or_default();
    Err(format!("the server did not start: {}", log.trim()))
}

fn find(program: &str) -> Result<String, String> {
    ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| Path::new(path).exists())
        .ok_or_else(|| format!("{program} is not installed"))
}

fn command(proxy: Proxy, port: u16, up: u16, directory: &Path) -> Result<Vec<String>, String> {
    let write = |name: &str, text: &str| -> Result<String, String> {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path.display().to_string())
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let tidegate = env!("CARGO_BIN_EXE_tidegate");
    Ok(match proxy {
        Proxy::Bare(poll) => {
            let me = std::env::current_exe().map_err(|e| e.to_string())?;
            let (me, recv) = (me.display().to_string(), if poll { "poll" } else { "multishot" });
            words(&[&me, "be", "relay", &port.to_string(), &up.to_string(), recv])
        }
        Proxy::Relay(io) => {
            let file = write("tidegate.toml", &relay_conf(port, up, false))?;
            words(&[tidegate, "serve", "--io", io, "--config", &file])
        }
        Proxy::RelayDelayed(io) => {
            let file = write("tidegate.toml", &relay_conf(port, up, true))?;
            words(&[tidegate, "serve", "--io", io, "--config", &file])
        }
        Proxy::Fanout(io) => {
            let file = write("tidegate.toml", &fanout_conf(port, up))?;
            words(&[tidegate, "serve", "--io", io, "--config", &file])
        }
        Proxy::Nginx => {
            let file = write("nginx.conf", &nginx_conf(port, up, directory))?;
            let prefix = directory.display().to_string();
            words(&[&find("nginx")?, "-p", &prefix, "-c", &file])
        }
        Proxy::Haproxy => {
            let file = write("haproxy.cfg", &haproxy_conf(port, up))?;
            words(&[&find("haproxy")?, "-q", "-f", &file])
        }
    })
}

/// One worker, and no work besides.
const TIDEGATE: &str = "admin = \"off\"\nworkers = 1\n";

fn relay_conf(port: u16, up: u16, delayed_acks: bool) -> String {
    format!(
        "listen = \"127.0.0.1:{port}\"\n{TIDEGATE}\
         [[backend]]\nname = \"sources\"\nendpoints = [\"http://127.0.0.1:{up}\"]\n\
         delayed_acks = {delayed_acks}\n\
         [[route]]\npath = \"/\"\nbackend = \"sources\"\n\
         timeouts = {{ request = \"0s\" }}\n"
    )
}

/// No history: what nginx keeps as well.
fn fanout_conf(port: u16, up: u16) -> String {
    format!(
        "listen = \"127.0.0.1:{port}\"\n{TIDEGATE}\
         [[upstream]]\nname = \"all\"\nurl = \"http://127.0.0.1:{up}/s{{rest}}\"\n\
         history_events_max = 0\nchannels_max = 20000\n\
         [[route]]\npath = \"/s\"\nupstream = \"all\"\n"
    )
}

/// One worker, room for both ends of every stream, nothing buffered, no access log, streams that
/// live for an hour, and buffers of a size that suits small events.
fn nginx_conf(port: u16, up: u16, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "daemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {directory}/pid;\n\
         error_log {directory}/error.log crit;\n\
         events {{ worker_connections 19900; use epoll; multi_accept on; }}\n\
         http {{\n  access_log off;\n  tcp_nodelay on;\n  keepalive_timeout 3600s;\n\
           upstream source {{ server 127.0.0.1:{up}; keepalive 64; }}\n\
           server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    location / {{\n\
             proxy_pass http://source;\n      proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\";\n      proxy_set_header Host $host;\n\
             proxy_buffering off;\n      proxy_request_buffering off;\n      proxy_cache off;\n\
             proxy_buffer_size 4k;\n\
             proxy_read_timeout 3600s;\n      proxy_send_timeout 3600s;\n\
           }} }}\n}}\n"
    )
}

/// One thread, room for every stream, streams that live for an hour.
fn haproxy_conf(port: u16, up: u16) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 9900\n  tune.bufsize 8192\n\
         defaults\n  mode http\n  no log\n  timeout connect 5s\n  timeout client 1h\n\
           timeout server 1h\n  timeout tunnel 1h\n  option http-no-delay\n\
         frontend in\n  bind 127.0.0.1:{port} backlog 4096\n  default_backend source\n\
         backend source\n  server s 127.0.0.1:{up}\n"
    )
}
