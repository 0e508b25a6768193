//! Starting and ending the servers, each pinned to one core, and running the load on another.

use crate::rows::Case;
use serde_json::Value;
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

/// Who serves.
#[derive(Clone, Copy)]
pub(crate) enum Server {
    /// The bare send loop over `uring` or `epoll`; whether it replays.
    Limit(&'static str, bool),
    /// Tidegate over `uring` or `epoll`.
    Tidegate(&'static str),
    /// The same with a history that holds all events of the row with the most.
    Remembering(&'static str),
    /// Tidegate over `uring` or `epoll`, reading what the bare send loop sends as its upstream.
    Fanout(&'static str),
    /// nginx with the Nchan module.
    Nchan,
    /// axum with a tokio broadcast channel.
    Axum,
}

const NCHAN_MODULES: &[&str] =
    &["/usr/lib/nginx/modules/ngx_nchan_module.so", "/usr/lib64/nginx/modules/ngx_nchan_module.so"];
const NGINX: &[&str] = &["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];

/// A running server; ended when dropped.
struct Running {
    process: Child,
    /// The upstream of a fan-out, and its port.
    upstream: Option<(Child, u16)>,
    directory: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((upstream, _)) = &mut self.upstream {
            let _ = upstream.kill();
            let _ = upstream.wait();
        }
        // A master process takes its workers with it only if it is asked politely.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        if !wait_until(3_000, || matches!(self.process.try_wait(), Ok(Some(_)))) {
            let _ = self.process.kill();
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

/// Runs one case and returns the load generator's report.
pub(crate) fn measure(case: &Case, server_core: &str, load_core: &str) -> Result<Value, String> {
    let port = free_port();
    let running = start(case.server, port, server_core, load_core)?;
    let url = format!("http://127.0.0.1:{port}");
    let mut load = Command::new("taskset");
    load.args(["-c", load_core, env!("CARGO_BIN_EXE_tidegate"), "bench", "--json", "--quiet"]);
    load.args(["--pid", &running.process.id().to_string()]);
    load.args(case.load.split_ascii_whitespace());
    match case.server {
        Server::Limit(..) => load.args([
            "--server-publishes",
            "--body",
            "{run} {events} {rate} {size}",
            &format!("--subscribe-url={url}/"),
            &format!("--publish-url={url}/"),
        ]),
        Server::Fanout(_) => {
            let upstream = running.upstream.as_ref().map_or(0, |(_, port)| *port);
            load.args([
                "--server-publishes",
                "--body",
                "{run} {events} {rate} {size}",
                &format!("--subscribe-url={url}/feed"),
                &format!("--publish-url=http://127.0.0.1:{upstream}/"),
            ])
        }
        Server::Tidegate(_) | Server::Remembering(_) => load.args([
            format!("--subscribe-url={url}/.well-known/mercure?{{topics}}"),
            format!("--publish-url={url}/.well-known/mercure"),
        ]),
        Server::Nchan => load.args([
            format!("--subscribe-url={url}/sub"),
            format!("--publish-url={url}/pub"),
            "--body={data}".to_owned(),
        ]),
        Server::Axum => load.args([
            format!("--subscribe-url={url}/"),
            format!("--publish-url={url}/"),
            "--body={data}".to_owned(),
        ]),
    };
    let output = load.stderr(Stdio::piped()).output().map_err(|e| format!("taskset: {e}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(server: Server, port: u16, core: &str, load_core: &str) -> Result<Running, String> {
    let directory = std::env::temp_dir().join(format!("compare-{port}"));
    fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let upstream = match server {
        Server::Fanout(_) => Some(start_upstream(load_core, &directory)?),
        _ => None,
    };
    let command = command(server, port, &directory)?;
    let log = fs::File::create(directory.join("log")).map_err(|e| e.to_string())?;
    let process = Command::new("taskset")
        .args(["-c", core])
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| format!("taskset: {e} (package util-linux)"))?;
    let mut running = Running { process, upstream, directory };
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

/// The bare send loop as an upstream, on the load's core; and the file that reads it.
fn start_upstream(core: &str, directory: &Path) -> Result<(Child, u16), String> {
    let port = free_port();
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let child = Command::new("taskset")
        .args(["-c", core])
        .arg(me)
        .args(["be", "limit", "--io", "uring", "--id-bytes", "29", "--port", &port.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("taskset: {e} (package util-linux)"))?;
    let text = format!(
        "[[upstream]]\nname = \"feed\"\nurl = \"http://127.0.0.1:{port}/feed\"\n\
         [[route]]\npath = \"/feed\"\nupstream = \"feed\"\n"
    );
    fs::write(directory.join("tidegate.toml"), text).map_err(|e| e.to_string())?;
    Ok((child, port))
}

fn command(server: Server, port_number: u16, directory: &Path) -> Result<Vec<String>, String> {
    let me = || std::env::current_exe().unwrap().display().to_string();
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let port = port_number.to_string();
    Ok(match server {
        Server::Limit(io, replay) => {
            let mut command = vec![me()];
            // As long as Tidegate's ids, so that the bytes per event are equal.
            command.extend(words(&[
                "be",
                "limit",
                "--io",
                io,
                "--port",
                &port,
                "--id-bytes",
                "29",
            ]));
            command.extend(replay.then(|| "--replay".to_owned()));
            command
        }
        Server::Axum => {
            let mut command = vec![me()];
            command.extend(words(&["be", "axum", &port]));
            command
        }
        Server::Tidegate(io) => {
            let listen = format!("127.0.0.1:{port}");
            let program = env!("CARGO_BIN_EXE_tidegate");
            let end = ["--admin", "off", "--workers", "1", "--io", io];
            [words(&[program, "serve", "--listen", &listen]), words(&end)].concat()
        }
        Server::Fanout(io) => {
            let file = directory.join("tidegate.toml").display().to_string();
            let mut command = command(Server::Tidegate(io), port_number, directory)?;
            command.extend(["--config".to_owned(), file]);
            command
        }
        Server::Remembering(io) => {
            let file = directory.join("tidegate.toml");
            let history = "history_events_max = 1100000\nhistory_bytes_max = \"2GiB\"\n";
            fs::write(&file, format!("[hub]\n{history}")).map_err(|e| e.to_string())?;
            let mut command = command(Server::Tidegate(io), port_number, directory)?;
            command.extend(["--config".to_owned(), file.display().to_string()]);
            command
        }
        Server::Nchan => {
            let found = |paths: &[&str]| {
                paths.iter().find(|p| Path::new(p).exists()).map(|p| (*p).to_owned())
            };
            let missing = "not installed (Debian: nginx-light and libnginx-mod-nchan)";
            let nginx = found(NGINX).ok_or(format!("nginx is {missing}"))?;
            let module = found(NCHAN_MODULES).ok_or(format!("Nchan is {missing}"))?;
            let file = directory.join("nginx.conf");
            fs::write(&file, nchan_conf(&module, &port, directory)).map_err(|e| e.to_string())?;
            let (prefix, file) = (directory.display().to_string(), file.display().to_string());
            words(&[&nginx, "-p", &prefix, "-c", &file])
        }
    })
}

/// One worker, messages in shared memory, room for everything that this comparison publishes, and
/// no work besides: no access log, no limit on a publisher's requests.
fn nchan_conf(module: &str, port: &str, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "load_module {module};\n\
         daemon off;\n\
         worker_processes 1;\n\
         worker_rlimit_nofile 20000;\n\
         pid {directory}/pid;\n\
         error_log {directory}/error.log crit;\n\
         events {{ worker_connections 19900; use epoll; multi_accept on; }}\n\
         http {{\n\
           access_log off;\n\
           tcp_nodelay on;\n\
           keepalive_requests 1000000000;\n\
           keepalive_timeout 3600s;\n\
           client_body_in_single_buffer on;\n\
           nchan_shared_memory_size 2048M;\n\
           server {{\n\
             listen 127.0.0.1:{port} backlog=4096;\n\
             location = /pub {{\n\
               nchan_publisher;\n\
               nchan_channel_id bench;\n\
               nchan_message_buffer_length 200000;\n\
               nchan_message_timeout 60s;\n\
             }}\n\
             location = /sub {{\n\
               nchan_subscriber eventsource;\n\
               nchan_channel_id bench;\n\
               nchan_subscriber_first_message newest;\n\
             }}\n\
           }}\n\
         }}\n"
    )
}
