//! What a publish says: its form, checked.
//!
//! Invariants: checks run in the reference hub's order, so that a request with several faults gets
//! the same answer from both. A repeated single field counts by its first value. `Publish` always
//! has a topic, and type and id that can be encoded.
//!
//! Stricter than the reference, on purpose: text that is not UTF-8 is refused (an event stream is
//! UTF-8), too many topics are 413 as the draft says, names have a length limit, `earliest` and
//! `#…` are no ids.

use super::EARLIEST;
use super::form;
use super::reserved::is_reserved;
use crate::config::Hub;

/// A checked publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// Topics, the canonical one first.
    pub topics: Vec<String>,
    /// The payload.
    pub text: String,
    /// Whether only clients with a grant may read it.
    pub private: bool,
    /// The publisher's id; `None`: the log makes one.
    pub id: Option<String>,
    /// The event type; empty: none.
    pub kind: String,
    /// Reconnection time for clients, in milliseconds.
    pub retry: Option<u64>,
}

/// Why a publish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A name or value is not UTF-8.
    #[error("Bad Request: the form is not UTF-8")]
    Form,
    /// No topic.
    #[error("Missing \"topic\" parameter")]
    NoTopic,
    /// No form at all, so no topic either, as the reference says.
    #[error(
        "Missing \"topic\" parameter: the body must be a form, of the type \
         application/x-www-form-urlencoded"
    )]
    NoForm,
    /// More topics than the limit.
    #[error("Too many \"topic\" parameters: at most {max}")]
    Topics {
        /// The limit.
        max: usize,
    },
    /// A topic or id longer than the limit.
    #[error("A topic or id is too long: at most {max} bytes")]
    Length {
        /// The limit.
        max: usize,
    },
    /// `retry` is not a number of milliseconds.
    #[error("Invalid \"retry\" parameter")]
    Retry,
    /// A topic at or below the hub's own path.
    #[error("Reserved topic: empty, or the hub's own path or below it: choose another")]
    Reserved,
    /// An id that a stream cannot carry or a cursor cannot name.
    #[error("Invalid \"id\" parameter: no line breaks, no NUL, no leading #, not \"earliest\"")]
    Id,
    /// A type that a stream cannot carry.
    #[error("Invalid \"type\" parameter: no line breaks, no NUL")]
    Kind,
}

impl Publish {
    /// Reads a publish from its body, up to and including `retry`. Grants come next, then
    /// [`Publish::check_names`]: the order is the reference's.
    ///
    /// # Errors
    /// By cause, in order: UTF-8, topic present, count, length, retry.
    pub fn parse(
        content_type: Option<&[u8]>,
        body: &[u8],
        hub: &Hub,
    ) -> Result<Self, PublishError> {
        if !content_type.is_some_and(is_form) {
            return Err(PublishError::NoForm);
        }
        let pairs = form::strict(body).ok_or(PublishError::Form)?;
        let mut publish = Self::default();
        let (mut text, mut id, mut kind, mut retry) = (None, None, None, None);
        for (name, value) in pairs {
            match name.as_ref() {
                "topic" => publish.topics.push(value.into_owned()),
                "private" => publish.private = true,
                "data" => _ = text.get_or_insert(value),
                "id" => _ = id.get_or_insert(value),
                "type" => _ = kind.get_or_insert(value),
                "retry" => _ = retry.get_or_insert(value),
                _ => {}
            }
        }
        publish.text = text.unwrap_or_default().into_owned();
        publish.id = id.filter(|id| !id.is_empty()).map(std::borrow::Cow::into_owned);
        publish.kind = kind.unwrap_or_default().into_owned();
        publish.check_limits(hub)?;
        publish.retry = parse_retry(&retry.unwrap_or_default())?;
        Ok(publish)
    }

    fn check_limits(&self, hub: &Hub) -> Result<(), PublishError> {
        if self.topics.is_empty() {
            return Err(PublishError::NoTopic);
        }
        if self.topics.len() > hub.publish_topics_max {
            return Err(PublishError::Topics { max: hub.publish_topics_max });
        }
        let max = hub.topic_bytes_max;
        if self.topics.iter().chain(&self.id).any(|name| name.len() > max) {
            return Err(PublishError::Length { max });
        }
        Ok(())
    }

    /// Checks the names themselves.
    ///
    /// # Errors
    /// By cause, in order: reserved topic, id, type.
    pub fn check_names(&self) -> Result<(), PublishError> {
        let breaks = |text: &str| text.contains(['\r', '\n', '\0']);
        if self.topics.iter().any(|topic| is_reserved(topic)) {
            return Err(PublishError::Reserved);
        }
        let no_id = |id: &String| breaks(id) || id.starts_with('#') || id == EARLIEST;
        if self.id.as_ref().is_some_and(no_id) {
            return Err(PublishError::Id);
        }
        if breaks(&self.kind) { Err(PublishError::Kind) } else { Ok(()) }
    }
}

/// The essence of the content type; parameters such as `charset` may follow.
fn is_form(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Empty and 0 count as absent: no client can use them.
fn parse_retry(text: &str) -> Result<Option<u64>, PublishError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PublishError::Retry);
    }
    if text.is_empty() {
        return Ok(None);
    }
    let millis = text.parse().map_err(|_| PublishError::Retry)?;
    Ok(Some(millis).filter(|millis| *millis != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Option<&[u8]> = Some(b"application/x-www-form-urlencoded");

    fn parse(body: &str) -> Result<Publish, PublishError> {
        Publish::parse(FORM, body.as_bytes(), &Hub::default())
    }

    fn checked(body: &str) -> Result<Publish, PublishError> {
        let publish = parse(body)?;
        publish.check_names().map(|()| publish)
    }

    #[test]
    fn every_field_is_read() {
        let all = "topic=a&topic=b&data=x%0Ay&id=%5Bi%5D&type=t&retry=05&private&other=1";
        let want = Publish {
            topics: vec!["a".into(), "b".into()],
            text: "x\ny".into(),
            private: true,
            id: Some("[i]".into()),
            kind: "t".into(),
            retry: Some(5),
        };
        assert_eq!(checked(all), Ok(want));
        let least = Publish { topics: vec!["a".into()], ..Publish::default() };
        assert_eq!(checked("topic=a&id=&type=&retry=&data="), Ok(least.clone()));
        assert_eq!(checked("topic=a&retry=0"), Ok(least));
    }

    #[test]
    fn the_first_of_a_repeated_field_counts_and_presence_makes_private() {
        let publish = checked("topic=a&data=1&data=2&private=&id=x&id=y").unwrap();
        assert_eq!((publish.text.as_str(), publish.private), ("1", true));
        assert_eq!(publish.id.as_deref(), Some("x"));
    }

    #[test]
    fn content_types() {
        let with = |t: &'static [u8]| Publish::parse(Some(t), b"topic=a", &Hub::default()).is_ok();
        assert!(with(b"application/x-www-form-urlencoded;charset=UTF-8"));
        assert!(with(b"Application/X-WWW-Form-Urlencoded ; charset=utf-8"));
        assert!(!with(b"application/json") && !with(b"multipart/form-data") && !with(b""));
        let none = Publish::parse(None, b"topic=a", &Hub::default());
        assert_eq!(none, Err(PublishError::NoForm));
        let said = PublishError::NoForm.to_string();
        assert!(said.starts_with("Missing \"topic\" parameter") && said.contains("urlencoded"));
    }

    #[test]
    fn refusals_by_cause() {
        assert_eq!(checked("data=x"), Err(PublishError::NoTopic));
        assert_eq!(checked("Topic=x"), Err(PublishError::NoTopic));
        assert_eq!(checked("topic=a&data=%ff"), Err(PublishError::Form));
        for retry in ["invalid", "-1", "+1", "1.5", "1e3", " 1", "18446744073709551616"] {
            let body = format!("topic=a&retry={}", retry.replace('+', "%2B"));
            assert_eq!(checked(&body), Err(PublishError::Retry), "{retry}");
        }
        for id in ["a%0Ab", "a%0Db", "a%00", "%23x", "earliest"] {
            assert_eq!(checked(&format!("topic=a&id={id}")), Err(PublishError::Id), "{id}");
        }
        for kind in ["a%0Ab", "a%0Db", "a%00"] {
            assert_eq!(checked(&format!("topic=a&type={kind}")), Err(PublishError::Kind));
        }
        let reserved = "topic=a&topic=/.well-known/mercure/subscriptions/x";
        assert_eq!(checked(reserved), Err(PublishError::Reserved));
    }

    #[test]
    fn limits() {
        let topics = |n: usize| vec!["topic=a"; n].join("&");
        assert!(parse(&topics(1000)).is_ok());
        assert_eq!(parse(&topics(1001)), Err(PublishError::Topics { max: 1000 }));
        let long = |field: &str, n: usize| parse(&format!("topic=a&{field}={}", "x".repeat(n)));
        assert!(long("topic", 4096).is_ok() && long("id", 4096).is_ok());
        assert_eq!(long("topic", 4097), Err(PublishError::Length { max: 4096 }));
        assert_eq!(long("id", 4097), Err(PublishError::Length { max: 4096 }));
        assert!(long("data", 100_000).is_ok());
    }
}
