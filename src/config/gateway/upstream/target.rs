//! The template of an upstream's path and query: text, and variables of the request.
//!
//! Invariants: what `show` prints, `parse` reads back; the text of a template is percent-encoded
//! already, so that only values of variables need encoding; pieces of text do not touch.

use crate::config::form;
use crate::config::gateway::Part;
use crate::config::gateway::Variable;
use thiserror::Error;

/// Fields that would carry a client's identity past `public`.
pub(crate) const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Variables of one template.
const VARIABLES_MAX: usize = 16;

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TargetError {
    #[error("must hold nothing after the host but a path and a query, percent-encoded")]
    Text,
    #[error("must have a / between its host and its first variable, unless that is {{rest}}")]
    Start,
    #[error("must close each {{ with a }}, and hold nothing else in braces than variables")]
    Braces,
    #[error(
        "has an unknown variable: there is {{channel}}, {{rest}}, {{path.NAME}}, {{query.NAME}} \
         and {{header.NAME}}"
    )]
    Unknown,
    #[error("must have {{rest}} in its path")]
    RestInQuery,
    #[error("must not hold Authorization or Cookie: credentials pass where `public` is false")]
    Credentials,
    #[error("must have at most 16 variables and 1024 bytes of path and query")]
    Long,
}

/// Reads what follows the host of an upstream's URL.
pub(crate) fn parse(text: &str) -> Result<Vec<Part>, TargetError> {
    // What follows a prefix brings its own slash.
    let slash = if text.starts_with('/') || text.starts_with("{rest}") { "" } else { "/" };
    if slash == "/" && text.starts_with('{') {
        return Err(TargetError::Start);
    }
    let mut rest = format!("{slash}{text}");
    if rest.len() > 1024 {
        return Err(TargetError::Long);
    }
    let mut parts = Vec::new();
    let mut query = false;
    while !rest.is_empty() {
        let open = rest.find('{').unwrap_or(rest.len());
        let (before, variable) = rest.split_at(open);
        if !before.is_empty() {
            if !form::is_encoded(before, "/?") {
                return Err(if before.contains('}') {
                    TargetError::Braces
                } else {
                    TargetError::Text
                });
            }
            query |= before.contains('?');
            parts.push(Part::Text(before.to_owned()));
        }
        let Some(variable) = variable.strip_prefix('{') else { break };
        let (name, after) = variable.split_once('}').ok_or(TargetError::Braces)?;
        let variable = parse_variable(name)?;
        if query && variable == Variable::Rest {
            return Err(TargetError::RestInQuery);
        }
        parts.push(Part::Variable(variable));
        rest = after.to_owned();
    }
    let variables = parts.iter().filter(|part| matches!(part, Part::Variable(_)));
    if variables.count() > VARIABLES_MAX { Err(TargetError::Long) } else { Ok(parts) }
}

fn parse_variable(name: &str) -> Result<Variable, TargetError> {
    let word = |name: &str| {
        let holds = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        !name.is_empty() && name.len() <= 256 && name.chars().all(holds)
    };
    match name.split_once('.') {
        None if name == "channel" => Ok(Variable::Channel),
        None if name == "rest" => Ok(Variable::Rest),
        Some(("path", name)) if word(name) => Ok(Variable::Capture(name.to_owned())),
        Some(("query", name)) if word(name) => Ok(Variable::Query(name.to_owned())),
        Some(("header", name)) if form::is_token(name) => {
            let name = name.to_ascii_lowercase();
            match CREDENTIALS.contains(&name.as_str()) {
                true => Err(TargetError::Credentials),
                false => Ok(Variable::Header(name)),
            }
        }
        _ => Err(TargetError::Unknown),
    }
}

/// Prints a template.
pub(crate) fn show(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Variable(Variable::Channel) => text.push_str("{channel}"),
            Part::Variable(Variable::Rest) => text.push_str("{rest}"),
            Part::Variable(Variable::Capture(name)) => text.push_str(&format!("{{path.{name}}}")),
            Part::Variable(Variable::Query(name)) => text.push_str(&format!("{{query.{name}}}")),
            Part::Variable(Variable::Header(name)) => text.push_str(&format!("{{header.{name}}}")),
        }
    }
    text
}

/// The variables of a template.
pub(crate) fn variables(parts: &[Part]) -> impl Iterator<Item = &Variable> {
    parts.iter().filter_map(|part| match part {
        Part::Variable(variable) => Some(variable),
        Part::Text(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_variables_come_in_their_order() {
        let text = "/v1/{channel}{rest}?s={query.sym}&t={header.X-Tenant}&p={path.1}";
        let parts = parse(text).unwrap();
        assert_eq!(
            parts[..4],
            [
                Part::Text("/v1/".into()),
                Part::Variable(Variable::Channel),
                Part::Variable(Variable::Rest),
                Part::Text("?s=".into()),
            ]
        );
        assert!(parts.contains(&Part::Variable(Variable::Header("x-tenant".into()))));
        assert_eq!(show(&parts), text.replace("X-Tenant", "x-tenant"));
        let rest = parse("{rest}?a=b").unwrap();
        assert_eq!(rest, [Part::Variable(Variable::Rest), Part::Text("?a=b".into())]);
        assert_eq!(show(&rest), "{rest}?a=b");
        assert_eq!(parse("").unwrap(), [Part::Text("/".into())]);
        assert_eq!(parse("?a=b").unwrap(), [Part::Text("/?a=b".into())]);
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_reason() {
        for (text, error) in [
            ("/a b", TargetError::Text),
            ("/a#b", TargetError::Text),
            ("/a\n", TargetError::Text),
            ("{channel}", TargetError::Start),
            ("{query.a}/", TargetError::Start),
            ("/{channel", TargetError::Braces),
            ("/a}b", TargetError::Braces),
            ("/{nope}", TargetError::Unknown),
            ("/{query.}", TargetError::Unknown),
            ("/{query.a=b}", TargetError::Unknown),
            ("/?a={rest}", TargetError::RestInQuery),
            ("/{header.Cookie}", TargetError::Credentials),
            ("/{header.authorization}", TargetError::Credentials),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(parse(&"{rest}".repeat(17)), Err(TargetError::Long));
        assert_eq!(parse(&"a".repeat(1025)), Err(TargetError::Long));
    }

    proptest! {
        #[test]
        fn what_is_read_reads_back(text in "[/?a-c{}.%2]{0,20}(\\{(rest|channel|query\\.a)\\})?") {
            if let Ok(parts) = parse(&text) {
                prop_assert_eq!(parse(&show(&parts)), Ok(parts));
            }
        }
    }
}
