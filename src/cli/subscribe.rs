//! `tidegate subscribe`: the events of a stream to standard output, over as many connections as it
//! takes.
//!
//! Invariants:
//! 1. It behaves as a browser's `EventSource`: it resumes with `Last-Event-ID`, waits at least as
//!    long as the server's `retry` says, and stops for good at a status other than 200 or another
//!    content type, unless told to keep trying.
//! 2. Events go to standard output and nothing else does; everything about the connection goes to
//!    standard error. What a peer sent cannot control the terminal.

mod show;

use self::show::Output;
use super::client::Backoff;
use super::client::ClientError;
use super::client::Credentials;
use super::client::DEFAULT_URL;
use super::client::Exchange;
use super::client::HUB_PATH;
use super::client::Header;
use super::client::Request;
use super::client::TokenError;
use super::client::Url;
use super::client::UrlError;
use super::client::merged;
use super::client::said;
use super::failure::Failure;
use crate::base::chance::Chance;
use crate::base::time::Clock;
use crate::base::time::SystemClock;
use crate::sse::DecodeError;
use crate::sse::Decoder;
use clap::Args;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// Bytes of a refusal that are read for their first line.
const COMPLAINT_BYTES_MAX: usize = 4096;
const REDIRECTS_MAX: usize = 5;
/// Up to how long a server can send a client away.
const FLOOR_MAX: Duration = Duration::from_secs(24 * 3600);
/// A stream that lived this long was a good one, even without an event.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// Print the events of a stream; connect again and resume when it ends.
#[derive(Args, Debug)]
pub struct SubscribeArgs {
    /// Address of the hub, or of any event stream.
    #[arg(default_value = DEFAULT_URL)]
    url: String,
    /// Topic to receive, `*` for all; repeatable. Without one, a hub's address means all.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Start after the event with this id; `earliest` for all that the hub has kept.
    #[arg(long, value_name = "ID", value_parser = event_id)]
    last_event_id: Option<String>,
    /// Another header of the request, as 'Name: value'.
    #[arg(long, value_name = "HEADER")]
    header: Vec<Header>,
    #[command(flatten)]
    credentials: Credentials,
    /// One JSON object a line, with id, type and data.
    #[arg(long)]
    json: bool,
    /// Stop after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Also keep trying after answers that stop a browser for good (204, 4xx, 5xx, another type).
    #[arg(long)]
    keep_trying: bool,
    /// Give up after this many failed connections in a row; 0: never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    attempts: u32,
    /// Upper bound of the first random wait before a reconnect; doubled by each failure.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    backoff: u64,
    /// Upper bound of every random wait before a reconnect.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    backoff_max: u64,
    /// Connect again after this much silence; servers send a heartbeat every 15 s or so. 0: never.
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    idle_timeout: u64,
    /// Bytes that one event may have.
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024)]
    event_bytes_max: usize,
    /// Say nothing about the connection.
    #[arg(long, short)]
    quiet: bool,
}

/// Why an attempt ended.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("the stream ended")]
    Stream,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the server answered {status}{}{}", meaning(*.status), said(.answer))]
    Status { status: u16, retry_after: Option<Duration>, answer: String },
    #[error("the answer is `{0}`, not `text/event-stream`")]
    Type(String),
    #[error("cannot follow the redirect: {0}")]
    Redirect(UrlError),
    #[error("the server redirects without end")]
    RedirectLoop,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the events cannot be printed: {0}")]
    Output(io::Error),
    #[error("all events that were asked for have come")]
    Complete,
}

impl Ending {
    /// Whether a browser would not try again. `None`: nothing would help.
    fn stops_a_browser(&self) -> Option<bool> {
        match self {
            Self::Stream => Some(false),
            Self::Client(ClientError::Response(_)) => Some(true),
            Self::Client(_) => Some(false),
            Self::Status { .. } | Self::Type(_) => Some(true),
            Self::Redirect(_) | Self::RedirectLoop => Some(true),
            Self::Decode(_) | Self::Token(_) | Self::Output(_) | Self::Complete => None,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The arguments are wrong, or the subscription ended for good and not because it was complete.
pub fn run(args: &SubscribeArgs) -> Result<ExitCode, Failure> {
    let mut url = Url::parse(&args.url).map_err(|error| Failure::usage(&error))?;
    let all = ["*".to_owned()];
    let whole_hub = args.topic.is_empty() && url.target == HUB_PATH;
    let topics = if whole_hub { all.as_slice() } else { &args.topic };
    url.add_query(topics.iter().map(|topic| ("topic", topic.as_str())));
    let chance = Chance::from_system().map_err(|error| Failure::runtime(&error))?;
    let base = Duration::from_millis(args.backoff);
    let cap = Duration::from_millis(args.backoff_max);
    let id = args.last_event_id.as_deref().unwrap_or("");
    let mut subscriber = Subscriber {
        args,
        url,
        clock: SystemClock::start(),
        decoder: Decoder::new(args.event_bytes_max).with_comments().with_last_event_id(id),
        backoff: Backoff::new(base, cap, chance),
        output: Output::new(io::stdout().lock(), args.json, args.quiet, args.count),
    };
    subscriber.run()
}

fn event_id(text: &str) -> Result<String, &'static str> {
    if text.contains(['\r', '\n', '\0']) {
        return Err("an event id holds no line break and no NUL");
    }
    Ok(text.to_owned())
}

struct Subscriber<'a, W> {
    args: &'a SubscribeArgs,
    url: Url,
    clock: SystemClock,
    decoder: Decoder,
    backoff: Backoff,
    output: Output<W>,
}

impl<W: io::Write> Subscriber<'_, W> {
    fn run(&mut self) -> Result<ExitCode, Failure> {
        loop {
            let ending = match self.attempt() {
                Ok(()) => Ending::Stream,
                Err(ending) => ending,
            };
            self.decoder.end();
            match ending.stops_a_browser() {
                Some(true) if !self.args.keep_trying => return self.stop(&ending),
                Some(_) => self.pause(&ending)?,
                None => return finish(&ending),
            }
        }
    }

    /// The end where a browser ends too. 204 is the server's way to end a client on purpose.
    fn stop(&self, ending: &Ending) -> Result<ExitCode, Failure> {
        if matches!(ending, Ending::Status { status: 204, .. }) {
            self.output.note(format_args!("{ending}"));
            return Ok(ExitCode::SUCCESS);
        }
        let remedy = match ending {
            Ending::Status { status, .. } => remedy(*status, self.args.credentials.is_empty()),
            _ => "check the address",
        };
        Err(Failure::runtime(ending).remedy(format!(
            "{remedy}; a browser stops for good here, and so does this, unless --keep-trying is set"
        )))
    }

    /// One connection, from the request to its end.
    fn attempt(&mut self) -> Result<(), Ending> {
        let mut exchange = self.open()?;
        let opened = self.clock.now();
        let kind = exchange.header("content-type").unwrap_or("");
        let essence = kind.split(';').next().unwrap_or("").trim();
        if exchange.status() != 200 {
            let retry_after = exchange.header("retry-after").and_then(|s| s.parse().ok());
            let retry_after = retry_after.map(Duration::from_secs);
            let (status, answer) = (exchange.status(), complaint(&mut exchange));
            return Err(Ending::Status { status, retry_after, answer });
        }
        if !essence.eq_ignore_ascii_case("text/event-stream") {
            return Err(Ending::Type(show::escaped(kind)));
        }
        let asked = self.decoder.last_event_id();
        self.output.opened(&self.url, asked, exchange.header("last-event-id"));
        let outcome = self.read(&mut exchange);
        if self.clock.now().since(opened) >= GOOD_AFTER {
            self.backoff.succeeded();
        }
        outcome
    }

    fn read(&mut self, exchange: &mut Exchange) -> Result<(), Ending> {
        while let Some(mut piece) = exchange.piece()? {
            while let Some(item) = self.decoder.decode(&mut piece)? {
                if self.output.show(&item).map_err(Ending::Output)? {
                    self.backoff.succeeded();
                }
                if self.output.is_complete() {
                    return Err(Ending::Complete);
                }
            }
        }
        Ok(())
    }

    /// Sends the request and follows redirects.
    fn open(&self) -> Result<Exchange, Ending> {
        let grants =
            if self.args.topic.is_empty() { vec!["*".to_owned()] } else { self.args.topic.clone() };
        let token = self.args.credentials.token(&[], &grants, &self.clock)?;
        let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut own = vec![("Accept", "text/event-stream"), ("Cache-Control", "no-cache")];
            let id = self.decoder.last_event_id();
            own.extend(Some(("Last-Event-ID", id)).filter(|(_, id)| !id.is_empty()));
            let at_home = url.authority() == self.url.authority();
            own.extend(bearer.as_deref().filter(|_| at_home).map(|b| ("Authorization", b)));
            let given = if at_home { self.args.header.as_slice() } else { &[] };
            let seconds = self.args.idle_timeout;
            let exchange = Exchange::open(&Request {
                method: "GET",
                url: &url,
                headers: &merged(&own, given),
                body: &[],
                idle_timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
            })?;
            match (exchange.status(), exchange.header("location")) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    url = url.join(location).map_err(Ending::Redirect)?;
                }
                _ => return Ok(exchange),
            }
        }
        Err(Ending::RedirectLoop)
    }

    /// Waits before the next attempt, or gives up.
    #[allow(clippy::disallowed_methods, reason = "a command that waits has nothing else to do")]
    fn pause(&mut self, ending: &Ending) -> Result<(), Failure> {
        let after = match ending {
            Ending::Status { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let retry = Duration::from_millis(self.decoder.retry().unwrap_or(0));
        let (failures, wait) = self.backoff.failed(retry.max(after).min(FLOOR_MAX));
        if self.args.attempts != 0 && failures >= self.args.attempts {
            let message = format!("gave up after {failures} failed connections in a row");
            return Err(Failure::runtime(ending).during(message));
        }
        let seconds = wait.as_secs_f64();
        self.output.note(format_args!("{ending}; connecting again in {seconds:.1} s"));
        std::thread::sleep(wait);
        Ok(())
    }
}

/// The end that no further attempt would change.
fn finish(ending: &Ending) -> Result<ExitCode, Failure> {
    match ending {
        Ending::Complete => Ok(ExitCode::SUCCESS),
        Ending::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::runtime(ending)),
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        204 => ": it wants no more connections from this client",
        _ => " instead of a stream",
    }
}

/// What the server says about its refusal, if it is short and its end is announced: nobody waits
/// for it.
fn complaint(exchange: &mut Exchange) -> String {
    let size = exchange.header("content-length").and_then(|size| size.parse().ok());
    match size {
        Some(1..=COMPLAINT_BYTES_MAX) => exchange.text(COMPLAINT_BYTES_MAX).unwrap_or_default(),
        _ => String::new(),
    }
}

fn remedy(status: u16, anonymous: bool) -> &'static str {
    match status {
        400 => "check the topics",
        401 | 403 if anonymous => {
            "pass a token with --token-file, or the hub's subscriber key with --key-file"
        }
        401 | 403 => {
            "check that the token is signed with the hub's subscriber key and has not expired"
        }
        404 => "check the path: hubs are at /.well-known/mercure",
        429 | 503 => "it is busy or ending: try again in a moment",
        _ => "check the address",
    }
}
