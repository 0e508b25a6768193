//! The arguments that commands with a configuration share, and how they become a `Config`.
//!
//! Invariants: the only place that reads the configuration file, key files and the environment.
//! Relative paths of key files start at the configuration file's folder.

use crate::cli::failure::Failure;
use crate::cli::host::Tree;
use crate::config::Config;
use crate::config::error::Warning;
use crate::config::relations;
use crate::config::relations::Host;
use crate::config::toml::Argument;
use crate::config::toml::Outside;
use crate::config::toml::load;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

/// Longest configuration: a hundred thousand routes have room.
const CONFIG_BYTES_MAX: u64 = 64 << 20;

/// Longest file that a key names.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the configuration is, and what overrides it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Settings {
    /// Configuration file; without one the defaults hold
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Keys that can be given as arguments.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// Address for clients and publishers [default: 127.0.0.1:8080]
    #[arg(short, long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address for metrics and health, or off [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Kernel interface of the data path: auto, uring or epoll [default: auto]
    #[arg(long, value_name = "INTERFACE")]
    io: Option<String>,
    /// Number of workers [default: one for each CPU]
    #[arg(short, long, value_name = "COUNT")]
    workers: Option<String>,
    /// CPUs of the workers, as 0-3,8
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
}

/// A checked configuration and the host that it was weighed against.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the host allows.
    pub host: Host,
    /// What is likely not wanted.
    pub warnings: Vec<Warning>,
}

impl Settings {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// The file cannot be read, or something in it or in the arguments is wrong.
    pub fn load(&self) -> Result<Loaded, Failure> {
        let text = match &self.config {
            None => String::new(),
            Some(path) => read(path, CONFIG_BYTES_MAX).map_err(|error| {
                Failure::usage(&error)
                    .during(format!("cannot read the configuration file {}", path.display()))
                    .remedy("give a readable TOML file; `tidegate check` prints one to start from")
            })?,
        };
        let folder = self.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let config = load(&text, &self.overrides.arguments(), &System { folder })
            .map_err(|problems| Failure::usage(&problems))?;
        Ok(Loaded::of(config))
    }
}

impl Overrides {
    /// Them as the loader takes them.
    #[must_use]
    pub fn arguments(&self) -> Vec<Argument> {
        let all = [
            ("listen", &self.listen),
            ("admin", &self.admin),
            ("io", &self.io),
            ("workers", &self.workers),
            ("cpus", &self.cpus),
        ];
        let given = |(key, value): (&'static str, &Option<String>)| {
            value.clone().map(|value| Argument { key, value })
        };
        all.into_iter().filter_map(given).collect()
    }
}

impl Loaded {
    /// A checked configuration on this host.
    #[must_use]
    pub fn of(config: Config) -> Self {
        let host = Tree::host().facts();
        let warnings = relations::warnings(&config, &host);
        Self { config, host, warnings }
    }

    /// Prints the warnings for the operator.
    pub fn warn(&self) {
        for warning in &self.warnings {
            eprintln!("warning: {warning}");
        }
    }
}

/// The file system and the environment.
struct System<'a> {
    folder: &'a Path,
}

impl Outside for System<'_> {
    fn file(&self, path: &str) -> io::Result<String> {
        read(&self.folder.join(path), FILE_BYTES_MAX)
    }

    #[allow(clippy::disallowed_methods, reason = "the command line reads the environment, once")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn read(path: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > max {
        return Err(io::Error::other(format!("the file is longer than {} MiB", max >> 20)));
    }
    Ok(text)
}
