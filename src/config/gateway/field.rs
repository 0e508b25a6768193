//! How a value enters a field of the gateway's model, and how it is read back.
//!
//! Invariants: as `config::field`.

use crate::config::field::Blank;
use crate::config::field::Field;
use crate::config::gateway::Balance;
use crate::config::gateway::Hostname;
use crate::config::gateway::Initial;
use crate::config::gateway::Scheme;
use crate::config::value::Kind;
use crate::config::value::Value;

pub(crate) const BALANCE: Kind = Kind::Choice(&["least-request", "round-robin"]);
pub(crate) const SCHEME: Kind = Kind::Choice(&["http", "https"]);
pub(crate) const LAG_POLICY: Kind = Kind::Choice(&["close", "skip", "latest"]);

impl Field for Hostname {
    fn value(&self) -> Value {
        Value::Text(self.0.clone())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        self.0.put(value)
    }
}

impl Field for Balance {
    fn value(&self) -> Value {
        let word = match self {
            Self::LeastRequest => "least-request",
            Self::RoundRobin => "round-robin",
        };
        Value::Text(word.to_owned())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Text(word) = value else { return None };
        *self = match word.as_str() {
            "least-request" => Self::LeastRequest,
            "round-robin" => Self::RoundRobin,
            _ => return None,
        };
        Some(())
    }
}

impl Field for Scheme {
    fn value(&self) -> Value {
        let word = match self {
            Self::Http => "http",
            Self::Https => "https",
        };
        Value::Text(word.to_owned())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Text(word) = value else { return None };
        *self = match word.as_str() {
            "http" => Self::Http,
            "https" => Self::Https,
            _ => return None,
        };
        Some(())
    }
}

/// How many of the newest events; zero is nothing.
impl Field for Initial {
    fn value(&self) -> Value {
        match self {
            Self::None => Value::None,
            Self::Events(count) => count.value(),
        }
    }

    fn put(&mut self, value: Value) -> Option<()> {
        if value == Value::None {
            *self = Self::None;
            return Some(());
        }
        let mut count = 0;
        count.put(value)?;
        *self = Self::Events(count);
        Some(())
    }
}

impl Blank for Hostname {
    fn blank() -> Self {
        Self(String::new())
    }
}

impl Blank for Scheme {
    fn blank() -> Self {
        Self::Http
    }
}
