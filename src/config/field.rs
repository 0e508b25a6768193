//! How a value enters a field of the model, and how it is read back.
//!
//! Invariants: for every key of the table, `put(value())` changes nothing. A value that does not
//! fit its field is a mistake in the table, not in the input.

use crate::base::redact::Secret;
use crate::config::Io;
use crate::config::LagPolicy;
use crate::config::value::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// A field of the model that a key of the table sets.
pub trait Field {
    /// The field's value.
    fn value(&self) -> Value;
    /// Takes a value; `None` if it does not fit the field's type.
    fn put(&mut self, value: Value) -> Option<()>;
}

impl Field for SocketAddr {
    fn value(&self) -> Value {
        Value::Address(*self)
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Address(address) = value else { return None };
        *self = address;
        Some(())
    }
}

impl Field for bool {
    fn value(&self) -> Value {
        Value::Flag(*self)
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Flag(flag) = value else { return None };
        *self = flag;
        Some(())
    }
}

impl Field for Duration {
    fn value(&self) -> Value {
        Value::Span(*self)
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Span(span) = value else { return None };
        *self = span;
        Some(())
    }
}

impl Field for u32 {
    fn value(&self) -> Value {
        Value::Number(u64::from(*self))
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Number(number) = value else { return None };
        *self = number.try_into().ok()?;
        Some(())
    }
}

impl Field for u16 {
    fn value(&self) -> Value {
        Value::Number(u64::from(*self))
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Number(number) = value else { return None };
        *self = number.try_into().ok()?;
        Some(())
    }
}

/// A count of things; sizes have a key of kind `Size` and come as such.
impl Field for usize {
    fn value(&self) -> Value {
        Value::Number(u64::try_from(*self).unwrap_or(u64::MAX))
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let (Value::Number(number) | Value::Size(number)) = value else { return None };
        *self = number.try_into().ok()?;
        Some(())
    }
}

/// Milliseconds, as `hub.retry` has them.
impl Field for u64 {
    fn value(&self) -> Value {
        Value::Span(Duration::from_millis(*self))
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Span(span) = value else { return None };
        *self = span.as_millis().try_into().ok()?;
        Some(())
    }
}

impl Field for String {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Text(text) = value else { return None };
        *self = text;
        Some(())
    }
}

impl Field for Vec<String> {
    fn value(&self) -> Value {
        Value::List(self.clone())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::List(list) = value else { return None };
        *self = list;
        Some(())
    }
}

impl Field for Vec<usize> {
    fn value(&self) -> Value {
        Value::Cpus(self.clone())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Cpus(cpus) = value else { return None };
        *self = cpus;
        Some(())
    }
}

impl Field for Io {
    fn value(&self) -> Value {
        let word = match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        };
        Value::Text(word.to_owned())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Text(word) = value else { return None };
        *self = match word.as_str() {
            "auto" => Self::Auto,
            "uring" => Self::Uring,
            "epoll" => Self::Epoll,
            _ => return None,
        };
        Some(())
    }
}

impl Field for LagPolicy {
    fn value(&self) -> Value {
        let word = match self {
            Self::Close => "close",
            Self::Skip => "skip",
            Self::Latest => "latest",
        };
        Value::Text(word.to_owned())
    }

    fn put(&mut self, value: Value) -> Option<()> {
        let Value::Text(word) = value else { return None };
        *self = match word.as_str() {
            "close" => Self::Close,
            "skip" => Self::Skip,
            "latest" => Self::Latest,
            _ => return None,
        };
        Some(())
    }
}

impl Field for Option<Secret> {
    fn value(&self) -> Value {
        self.clone().map_or(Value::None, Value::Secret)
    }

    fn put(&mut self, value: Value) -> Option<()> {
        *self = match value {
            Value::None => None,
            Value::Secret(secret) => Some(secret),
            _ => return None,
        };
        Some(())
    }
}

/// A field that may be off or left to the server.
impl<T: Field + Blank> Field for Option<T> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::None, Field::value)
    }

    fn put(&mut self, value: Value) -> Option<()> {
        *self = if value == Value::None {
            None
        } else {
            let mut inner = T::blank();
            inner.put(value)?;
            Some(inner)
        };
        Some(())
    }
}

/// A start value that `put` overwrites.
pub trait Blank {
    /// Any value.
    fn blank() -> Self;
}

impl Blank for SocketAddr {
    fn blank() -> Self {
        Self::from(([0, 0, 0, 0], 0))
    }
}

macro_rules! blank {
    ($($type:ty),*) => {
        $(impl Blank for $type {
            fn blank() -> Self {
                Self::default()
            }
        })*
    };
}

blank!(bool, u16, u32, u64, usize, String, Duration, Vec<usize>);
