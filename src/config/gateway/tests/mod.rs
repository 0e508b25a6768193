//! Tests of the gateway's tables: what is read, what is refused, what is printed.

mod commands;
mod models;
mod printing;
mod reading;
mod refusing;
mod wrong;

use crate::config::Config;
use crate::config::error::Problem;
use crate::config::error::Problems;
use crate::config::toml::Outside;
use crate::config::toml::load;

/// Three files of certificates.
pub(crate) struct World;

impl Outside for World {
    fn file(&self, path: &str) -> std::io::Result<String> {
        match path {
            "ca.pem" | "c.pem" => Ok("-----BEGIN CERTIFICATE-----\n".to_owned()),
            "k.pem" => Ok("-----BEGIN PRIVATE KEY-----\nhunter2\n".to_owned()),
            "empty.pem" => Ok(String::new()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn parse(text: &str) -> Result<Config, Problems> {
    load(text, &[], &World)
}

#[track_caller]
fn read(text: &str) -> Config {
    parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

#[track_caller]
fn problems(text: &str) -> Vec<Problem> {
    match parse(text) {
        Ok(_) => panic!("was read: {text}"),
        Err(problems) => problems.0,
    }
}
