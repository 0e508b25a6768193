//! Endpoints of a backend: addresses, with a weight where one is wanted.
//!
//! Invariants: at least one; all speak TLS or none does, whatever their addresses say; no address
//! holds a user name.

use crate::config::error::Cause;
use crate::config::gateway::Backend;
use crate::config::gateway::Endpoint;
use crate::config::gateway::Place;
use crate::config::gateway::backend;
use crate::config::gateway::backend::url;
use crate::config::gateway::bounds;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::gateway::show::Printer;
use crate::config::gateway::show::long_list;
use crate::config::value::quote;
use ::toml::de::DeValue;

/// What the text says of one.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    place: Option<Place>,
    https: Option<bool>,
    weight: u32,
}

pub(crate) static ENDPOINT: Shape<Draft> = Shape {
    title: "`endpoints` of a backend",
    nouns: &["endpoints"],
    blank: || Draft { place: None, https: None, weight: 1 },
    rows: &[
        parts("url", url::WANTED, "Its address.", address, |d, _| {
            d.place.as_ref().map(|place| quote(&url::show(place, d.https == Some(true))))
        })
        .required(),
        value("weight", bounds::WEIGHT, "Its share of the requests; 0: none.", |d| &mut d.weight),
    ],
};

fn address(draft: &mut Draft, node: &Node<'_>, reader: &mut Reader<'_>) {
    let text = node.value.as_str().unwrap_or_default();
    match url::place(text) {
        Some((place, https)) => (draft.place, draft.https) = (Some(place), https),
        None => {
            let node = Node { hidden: url::has_secret(text), ..node.clone() };
            match url::remedy(text) {
                Some(remedy) => reader.relation(&node, &format!("must be {}", url::WANTED), remedy),
                None => reader.form(&node, url::WANTED),
            }
        }
    }
}

/// Reads the list.
pub(crate) fn read(draft: &mut backend::Draft, node: &Node<'_>, reader: &mut Reader<'_>) {
    let wanted = "a list of addresses";
    let Some(items) = reader.items(node, bounds::ENDPOINTS_MAX, wanted) else { return };
    if items.is_empty() {
        let wanted = "a list of 1 to 256 addresses".to_owned();
        reader.problem(node, Cause::Range { wanted });
    }
    let mut first: Option<bool> = None;
    for item in &items {
        let mut one = (ENDPOINT.blank)();
        match item.value {
            DeValue::Table(_) => reader.fill(&ENDPOINT, item, &mut one),
            _ => address(&mut one, item, reader),
        }
        if let (Some(first), Some(https)) = (first, one.https)
            && first != https
        {
            reader.relation(
                item,
                "differs in scheme from the first: a backend speaks TLS to all or to none",
                "make two backends of it",
            );
        }
        first = first.or(one.https);
        if let Some(place) = one.place {
            draft.backend.endpoints.push(Endpoint { place, weight: one.weight });
        }
    }
    draft.https = first;
}

/// Prints the list.
pub(crate) fn show(backend: &Backend, printer: &Printer<'_>) -> String {
    let https = backend.tls.is_some();
    let items = backend.endpoints.iter().map(|endpoint| {
        let Endpoint { place, weight } = endpoint.clone();
        match weight {
            1 => quote(&url::show(&place, https)),
            weight => {
                let draft = Draft { place: Some(place), https: Some(https), weight };
                printer.inline(&ENDPOINT, &draft)
            }
        }
    });
    long_list(&items.collect::<Vec<_>>())
}
