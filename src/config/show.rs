//! The configuration in print: as TOML that reads back as the same, and as the list of all keys.
//!
//! Invariants: made from the tables of keys alone; secrets are masked.

use crate::config::Config;
use crate::config::gateway;
use crate::config::gateway::Detail;
use crate::config::gateway::manual;
use crate::config::keys;
use crate::config::keys::KEYS;
use crate::config::keys::Source;

/// The effective configuration as TOML. Reads back as the same configuration, except that a
/// secret is printed as `***` and must be put in again.
#[must_use]
pub fn toml(config: &Config) -> String {
    let mut text = keys(config, Detail::All);
    text.push_str(&gateway::show(&config.gateway, Detail::All));
    text
}

/// The same without what holds anyway: the file that somebody would write.
#[must_use]
pub fn brief(config: &Config) -> String {
    let mut text = keys(config, Detail::Changed);
    text.push_str(&gateway::show(&config.gateway, Detail::Changed));
    text.trim_start().to_owned()
}

/// The keys that are given once.
fn keys(config: &Config, detail: Detail) -> String {
    let (mut config, mut default) = (config.clone(), Config::default());
    let mut text = String::new();
    let mut section = "";
    for key in KEYS.iter().filter(|key| key.source == Source::Text) {
        let value = key.value(&mut config);
        if detail == Detail::Changed && value == key.value(&mut default) {
            continue;
        }
        let (head, name) = key.split();
        if head != section {
            section = head;
            text.push_str(&format!("\n[{section}]\n"));
        }
        match key.show(&value) {
            Some(shown) => text.push_str(&format!("{name} = {shown}\n")),
            None => text.push_str(&format!("# {name} is not set\n")),
        }
    }
    text
}

/// The list of all keys as Markdown, for the operator's manual.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    let mut section = None;
    for key in KEYS {
        let (head, name) = key.split();
        if section != Some(head) {
            section = Some(head);
            let title =
                if head.is_empty() { "Top level".to_owned() } else { format!("`[{head}]`") };
            text.push_str(&format!("\n### {title}\n\n"));
            text.push_str("| key | default | takes | what it is for |\n|---|---|---|---|\n");
        }
        let default = keys::default(key.name).map(|shown| format!("`{shown}`"));
        let default = default.unwrap_or_else(|| "not set".to_owned());
        let takes = key.wanted().replace('|', "\\|");
        text.push_str(&format!("| `{name}` | {default} | {takes} | {} |\n", key.doc));
    }
    text.push_str(&manual::markdown());
    text.trim_start().to_owned()
}
