//! A command that did not succeed: message, causes, remedy, exit code.
//!
//! Invariants: printed once, to stderr, by `report`; holds no secret, because the errors that it
//! is made from hold none.

use std::error::Error;
use std::process::ExitCode;

/// Exit code of a command that failed while it ran.
pub const RUNTIME: u8 = 1;

/// Exit code where the arguments or the configuration are wrong.
pub const USAGE: u8 = 2;

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What happened.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do about it, if it is known.
    pub remedy: Option<String>,
}

impl Failure {
    /// The command failed while it ran.
    #[must_use]
    pub fn runtime(error: &dyn Error) -> Self {
        Self::new(RUNTIME, error)
    }

    /// The arguments or the configuration are wrong.
    #[must_use]
    pub fn usage(error: &dyn Error) -> Self {
        Self::new(USAGE, error)
    }

    fn new(code: u8, error: &dyn Error) -> Self {
        let causes = std::iter::successors(error.source(), |&error| error.source());
        let causes = causes.map(ToString::to_string);
        Self { code, message: error.to_string(), causes: causes.collect(), remedy: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The same as a cause of `message`.
    #[must_use]
    pub fn during(mut self, message: String) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.message, message));
        self
    }

    /// The lines that the operator sees.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("tidegate: {}\n", self.message);
        for cause in &self.causes {
            text.push_str(&format!("  because: {cause}\n"));
        }
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("  remedy: {remedy}\n"));
        }
        text
    }

    /// Prints the failure and gives its exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        eprint!("{}", self.text());
        ExitCode::from(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn message_causes_and_remedy_are_printed() {
        let error = Outer(std::io::Error::other("port in use"));
        let failure = Failure::runtime(&error).remedy("take another port");
        assert_eq!(
            failure.text(),
            "tidegate: cannot listen\n  because: port in use\n  remedy: take another port\n"
        );
        let failure = Failure::usage(&error).during("cannot start".into());
        assert!(failure.text().starts_with("tidegate: cannot start\n  because: cannot listen\n"));
        assert_eq!(failure.code, USAGE);
    }
}
