//! The real gateway as a process of its own, with one backend.

use crate::process::Process;
use crate::process::until;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder that goes with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sdk-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A gateway that ends with the value.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    _process: Process,
    _folder: Folder,
}

impl Gateway {
    /// In front of this backend, on this driver (`auto` or `epoll`).
    #[track_caller]
    pub(crate) fn to(backend: SocketAddr, io: &str) -> Self {
        let folder = Folder::new();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\nworkers = 2\nio = \"{io}\"\n\n[[route]]\n\
             path = \"/\"\nbackend = \"http://{backend}\"\ntimeouts = {{ request = \"0s\" }}\n"
        );
        let config = folder.0.join("tidegate.toml");
        std::fs::write(&config, text).unwrap();
        let args = ["serve", "--config", config.to_str().unwrap()];
        let mut process = Process::tidegate(&args);
        let address = until("the gateway to listen", || {
            let said = process.err();
            let Some((_, after)) = said.split_once("listening on http://") else {
                assert!(process.is_running(), "the gateway ended: {}", process.err());
                return None;
            };
            after.split_once(char::is_whitespace)?.0.trim_end_matches('/').parse().ok()
        });
        Self { address, _process: process, _folder: folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
