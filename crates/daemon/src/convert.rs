//! Between the wire and the engine: one module per resource, pure functions.
//!
//! The engine's lists do not know Go's difference between `null` and `[]`. Where inspect has to
//! show it, the wire's empty lists are remembered by key in the engine's `rest`.

pub mod config;
pub mod container;
pub mod event;
pub mod host_config;
pub mod image;
pub mod network;
pub mod networking;
pub mod registry;
pub mod stats;
pub mod system;
pub mod volume;

use engine::container::Rest;
use serde_json::Value;

/// A list for the engine; an empty one that was written down is remembered.
fn keep_list<T>(rest: &mut Rest, key: &str, list: Option<Vec<T>>) -> Vec<T> {
    if list.as_ref().is_some_and(Vec::is_empty) {
        rest.insert(key.to_owned(), Value::Array(Vec::new()));
    }
    list.unwrap_or_default()
}

/// A list for the wire: `null`, unless it has items or an empty one was written down.
fn give_list<T>(rest: &Rest, key: &str, list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty() || rest.contains_key(key)).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_null_lists_are_told_apart() {
        let mut rest = Rest::new();
        assert!(keep_list::<u8>(&mut rest, "Dns", Some(vec![])).is_empty());
        assert!(keep_list::<u8>(&mut rest, "Binds", None).is_empty());
        assert_eq!(keep_list(&mut rest, "Env", Some(vec![1])), [1]);
        assert_eq!(give_list::<u8>(&rest, "Dns", vec![]), Some(vec![]));
        assert_eq!(give_list::<u8>(&rest, "Binds", vec![]), None);
        assert_eq!(give_list(&rest, "Env", vec![1]), Some(vec![1]));
    }
}
