//! `tidegate publish`: one event to a hub, its id to standard output.
//!
//! Invariants: what the hub would refuse for its form is refused here, before anything is sent.
//! Every refusal by the hub is told with its remedy. Nothing is sent twice.

use super::client::ClientError;
use super::client::Credentials;
use super::client::DEFAULT_URL;
use super::client::Exchange;
use super::client::Header;
use super::client::Request;
use super::client::TokenError;
use super::client::Url;
use super::client::UrlError;
use super::client::form_encode;
use super::client::merged;
use super::client::said;
use super::failure::Failure;
use crate::base::time::SystemClock;
use crate::sse;
use clap::Args;
use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Write;
use std::process::ExitCode;

/// Bytes that are read from standard input.
const DATA_BYTES_MAX: usize = 64 * 1024 * 1024;
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Publish one event to a hub and print its id.
#[derive(Args, Debug)]
pub struct PublishArgs {
    /// Address of the hub.
    #[arg(default_value = DEFAULT_URL)]
    url: String,
    /// Topic of the event; give several for an event that has more names than one.
    #[arg(long, required = true, value_name = "TOPIC")]
    topic: Vec<String>,
    /// The payload; without this option it is read from standard input (less one final line break).
    #[arg(long, allow_hyphen_values = true)]
    data: Option<String>,
    /// The event's id; the hub makes one if there is none.
    #[arg(long)]
    id: Option<String>,
    /// The event's type, for listeners of that name; `message` if there is none.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Reconnection time for the clients, in milliseconds.
    #[arg(long, value_name = "MS")]
    retry: Option<u64>,
    /// Only for subscribers whose token grants one of the topics.
    #[arg(long)]
    private: bool,
    /// Another header of the request, as 'Name: value'.
    #[arg(long, value_name = "HEADER")]
    header: Vec<Header>,
    #[command(flatten)]
    credentials: Credentials,
}

/// Why the event was not published, or may not have been.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Event(#[from] sse::EncodeError),
    #[error("standard input cannot be read: {0}")]
    Input(io::Error),
    #[error("the payload is longer than {DATA_BYTES_MAX} bytes: publish a link to it instead")]
    TooLong,
    #[error("the payload is not UTF-8, which event streams must be: encode it, as base64 say")]
    Encoding,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the hub refused the event ({status}{})", said(.answer))]
    Refused { status: u16, answer: String },
    #[error("the id cannot be printed: {0}")]
    Output(io::Error),
}

/// Runs the command.
///
/// # Errors
/// The event was refused, here or by the hub, or the hub cannot be reached.
pub fn run(args: &PublishArgs) -> Result<ExitCode, Failure> {
    let printed = publish(args).and_then(|id| {
        let mut out = io::stdout().lock();
        writeln!(out, "{id}").and_then(|()| out.flush()).map_err(PublishError::Output)
    });
    printed.map(|()| ExitCode::SUCCESS).map_err(|error| failure(&error, &args.credentials))
}

fn failure(error: &PublishError, credentials: &Credentials) -> Failure {
    match error {
        PublishError::Url(_) | PublishError::Event(_) => Failure::usage(error),
        PublishError::Refused { status, answer } => {
            Failure::runtime(error).remedy(remedy(*status, answer, credentials.is_empty()))
        }
        _ => Failure::runtime(error),
    }
}

fn publish(args: &PublishArgs) -> Result<String, PublishError> {
    let url = Url::parse(&args.url)?;
    let (id, kind) = (args.id.as_deref().unwrap_or(""), args.kind.as_deref().unwrap_or(""));
    sse::encode(&sse::EventFields { kind, retry: None, id, data: "" }, &mut Vec::new())?;
    let token = args.credentials.token(&args.topic, &[], &SystemClock::start())?;
    let read;
    let data = match &args.data {
        Some(data) => data,
        None => {
            if io::stdin().is_terminal() {
                let _ = writeln!(io::stderr(), "type the payload, then Ctrl-D");
            }
            read = payload(io::stdin().lock())?;
            &read
        }
    };
    let retry = args.retry.map(|millis| millis.to_string());
    let mut fields: Vec<_> = args.topic.iter().map(|topic| ("topic", topic.as_str())).collect();
    fields.push(("data", data));
    let optional = [("id", id), ("type", kind), ("retry", retry.as_deref().unwrap_or(""))];
    fields.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()));
    if args.private {
        fields.push(("private", "on"));
    }
    let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
    let mut own = vec![("Content-Type", "application/x-www-form-urlencoded")];
    own.extend(bearer.as_deref().map(|value| ("Authorization", value)));
    let mut exchange = Exchange::open(&Request {
        method: "POST",
        url: &url,
        headers: &merged(&own, &args.header),
        body: form_encode(fields).as_bytes(),
        idle_timeout: Some(std::time::Duration::from_secs(30)),
    })?;
    let answer = exchange.text(ANSWER_BYTES_MAX)?;
    match exchange.status() {
        200 => Ok(answer.trim_end().to_owned()),
        status => Err(PublishError::Refused { status, answer }),
    }
}

/// All of the input, less one final line break.
fn payload(input: impl Read) -> Result<String, PublishError> {
    let mut data = Vec::new();
    let bytes_max = u64::try_from(DATA_BYTES_MAX).unwrap_or(u64::MAX);
    input.take(bytes_max.saturating_add(1)).read_to_end(&mut data).map_err(PublishError::Input)?;
    if data.len() > DATA_BYTES_MAX {
        return Err(PublishError::TooLong);
    }
    if data.last() == Some(&b'\n') {
        data.pop();
        if data.last() == Some(&b'\r') {
            data.pop();
        }
    }
    String::from_utf8(data).map_err(|_| PublishError::Encoding)
}

fn remedy(status: u16, answer: &str, anonymous: bool) -> &'static str {
    match status {
        400 => "change the field that it names",
        403 if answer.starts_with("Reserved") => "give the topic another name",
        401 | 403 if anonymous => {
            "pass a token that grants `publish` on the topics with --token-file, or the hub's \
             publisher key with --key-file"
        }
        401 | 403 => {
            "check that the token is signed with the hub's publisher key, has not expired and \
             grants `publish` on every topic"
        }
        301..=308 => "give the address that it redirects to",
        404 => "check the path: hubs are at /.well-known/mercure",
        405 => "the server takes no publishes there: check the path, or configure a publisher key",
        413 => "make the payload smaller or raise the server's limit on bodies",
        429 | 503 => "it is busy or ending: try again in a moment",
        _ => "see the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_final_line_break_is_not_payload() {
        for (input, want) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", ""), ("\n", ""), (" a", " a")]
        {
            assert_eq!(payload(input.as_bytes()).unwrap(), want);
        }
        assert!(matches!(payload(b"\xff".as_slice()), Err(PublishError::Encoding)));
        let endless = io::repeat(b'a');
        assert!(matches!(payload(endless), Err(PublishError::TooLong)));
    }

    #[test]
    fn a_refusal_is_told_with_its_remedy_on_one_line() {
        let refused = |status, answer: &str, credentials: &Credentials| {
            let error = PublishError::Refused { status, answer: answer.to_owned() };
            failure(&error, credentials).text()
        };
        let nobody = Credentials::default();
        let text = refused(401, "Unauthorized\n", &nobody);
        assert!(text.starts_with("tidegate: the hub refused the event (401, \"Unauthorized\")\n"));
        assert!(text.contains("\n  remedy: pass a token"));
        assert!(!refused(400, "a\x1b[31mb\nc", &nobody).contains('\x1b'));
        let text = refused(403, "Reserved topic: empty", &nobody);
        assert!(text.contains("\n  remedy: give the topic another name"), "{text}");
    }
}
