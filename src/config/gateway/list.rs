//! Lists of texts: each item of one form, none twice.
//!
//! Invariants: an item that is wrong is named by its own index.

use crate::config::form::Form;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;

/// Reads a list of at most so many texts.
pub(crate) fn texts(
    node: &Node<'_>,
    reader: &mut Reader<'_>,
    max: usize,
    form: &'static Form,
) -> Vec<String> {
    let wanted = format!("a list of at most {max}, each {}", form.wanted);
    let Some(items) = reader.items(node, max, &wanted) else { return Vec::new() };
    let mut texts: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = reader.text(item, form) else { continue };
        if texts.contains(&text) {
            reader.relation(item, "is in the list already", "remove one of them");
        } else {
            texts.push(text);
        }
    }
    texts
}
