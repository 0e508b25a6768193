//! What a subscribe asks: its query, checked.
//!
//! Invariants: the token comes before the parameters, so [`tokens`] reads the query on its own;
//! names are case-sensitive, unknown ones are ignored. A selector is `*` or a plain string.

use crate::config::Hub;
use std::borrow::Cow;

/// A checked query of a subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Selectors: `*` for all, else a topic.
    pub topics: Vec<String>,
    /// The cursor, from `lastEventID` or else `Last-Event-ID`. Empty ones count as absent.
    pub cursor: Option<String>,
}

/// Why a subscribe is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// No topic.
    #[error("Missing \"topic\" parameter.")]
    NoTopic,
    /// More topics than the limit.
    #[error("Too many \"topic\" parameters.")]
    Topics {
        /// The limit.
        max: usize,
    },
    /// A topic longer than the limit.
    #[error("A \"topic\" parameter is too long: at most {max} bytes.")]
    Length {
        /// The limit.
        max: usize,
    },
}

impl Query {
    /// Reads a query (without `?`).
    ///
    /// # Errors
    /// By cause, in order: topic present, count, length.
    pub fn parse(query: &[u8], hub: &Hub) -> Result<Self, SubscribeError> {
        let (mut topics, mut cursor, mut named) = (Vec::new(), None, None);
        for (name, value) in form_urlencoded::parse(query) {
            match name.as_ref() {
                "topic" => topics.push(value.into_owned()),
                "lastEventID" => _ = cursor.get_or_insert(value),
                "Last-Event-ID" => _ = named.get_or_insert(value),
                _ => {}
            }
        }
        if topics.is_empty() {
            return Err(SubscribeError::NoTopic);
        }
        if topics.len() > hub.subscribe_topics_max {
            return Err(SubscribeError::Topics { max: hub.subscribe_topics_max });
        }
        if topics.iter().any(|topic| topic.len() > hub.topic_bytes_max) {
            return Err(SubscribeError::Length { max: hub.topic_bytes_max });
        }
        let present = |value: &Cow<'_, str>| !value.is_empty();
        let cursor = cursor.filter(present).or_else(|| named.filter(present));
        Ok(Self { topics, cursor: cursor.map(Cow::into_owned) })
    }
}

/// Every query parameter `authorization`, decoded.
pub fn tokens(query: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    form_urlencoded::parse(query).filter(|(name, _)| name == "authorization").map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Query, SubscribeError> {
        Query::parse(query.as_bytes(), &Hub::default())
    }

    #[test]
    fn topics_and_cursor() {
        let query = parse("topic=a%2Fb&topic=*&x=y&lastEventID=i%23&Last-Event-ID=j").unwrap();
        assert_eq!(query.topics, ["a/b", "*"]);
        assert_eq!(query.cursor.as_deref(), Some("i#"));
        let cursor = |query: &str| parse(query).unwrap().cursor;
        assert_eq!(cursor("topic=a&Last-Event-ID=j").as_deref(), Some("j"));
        assert_eq!(cursor("topic=a&lastEventID=&Last-Event-ID=j").as_deref(), Some("j"));
        assert_eq!(cursor("topic=a&lastEventID="), None);
        assert_eq!(cursor("topic=a&lasteventid=i&last_event_id=i"), None);
    }

    #[test]
    fn refusals_by_cause() {
        assert_eq!(parse(""), Err(SubscribeError::NoTopic));
        assert_eq!(parse("Topic=a&match=b"), Err(SubscribeError::NoTopic));
        let topics = |n: usize| vec!["topic=a"; n].join("&");
        assert!(parse(&topics(1000)).is_ok());
        assert_eq!(parse(&topics(1001)), Err(SubscribeError::Topics { max: 1000 }));
        assert!(parse(&format!("topic={}", "a".repeat(4096))).is_ok());
        let long = parse(&format!("topic={}", "a".repeat(4097)));
        assert_eq!(long, Err(SubscribeError::Length { max: 4096 }));
    }

    #[test]
    fn tokens_are_found_all() {
        let found: Vec<_> = tokens(b"authorization=a%2Eb&Authorization=c&authorization=").collect();
        assert_eq!(found, ["a.b", ""]);
    }
}
