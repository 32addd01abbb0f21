//! Lists in the bodies of requests, read as far as they may go and no further.
//!
//! A list says its longest length where it is declared, and is given up at the first item beyond it: what a
//! caller sends costs no memory for items that nobody wants, and is answered by one broken rule
//! (`max-items`), whatever the items are.
//!
//! ```
//! # use rocketmart_contracts::list;
//! #[derive(serde::Deserialize)]
//! struct Wish {
//!     #[serde(default, deserialize_with = "list::at_most::<20, _, _>")]
//!     tags: Vec<String>,
//! }
//! # assert!(serde_json::from_str::<Wish>(r#"{"tags": ["a"]}"#).is_ok());
//! ```
//!
//! Descriptions say the same number as `maxItems`; that both hold is tested for every operation that is served.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How the refusal of a list that is too long begins; serde's errors are nothing but text.
pub const TOO_LONG: &str = "must have at most ";

/// A list of at most `MAX` items.
pub fn at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(Items::<MAX, T>(PhantomData))
}

/// The same where the list may be left out, but not be `null`.
pub fn given_at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    at_most::<MAX, T, D>(deserializer).map(Some)
}

/// The same where the list may be left out or be `null`.
pub fn optional_at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_option(Nullable::<MAX, T>(PhantomData))
}

/// An object of at most `MAX` members, with names of the caller's choice.
pub fn entries_at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_map(Entries::<MAX, T>(PhantomData))
}

struct Items<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Items<MAX, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < MAX {
            match sequence.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        // Whatever the item too many is, it is not kept.
        match sequence.next_element::<IgnoredAny>()? {
            Some(_) => Err(too_long::<MAX, _>()),
            None => Ok(items),
        }
    }
}

struct Nullable<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Nullable<MAX, T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        given_at_most::<MAX, T, D>(deserializer)
    }
}

struct Entries<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Entries<MAX, T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        // Repeated names are counted too: each costs as much as any other.
        for _ in 0..MAX {
            match map.next_entry()? {
                Some((name, value)) => drop(entries.insert(name, value)),
                None => return Ok(entries),
            }
        }
        match map.next_key::<IgnoredAny>()? {
            Some(_) => Err(too_long::<MAX, _>()),
            None => Ok(entries),
        }
    }
}

fn too_long<const MAX: usize, E: Error>() -> E {
    E::custom(format_args!("{TOO_LONG}{MAX} items"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde::Deserialize;

    use super::*;

    thread_local! {
        static READ: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts how many of it were made.
    #[derive(Debug)]
    struct Counted;

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            READ.set(READ.get() + 1);
            IgnoredAny::deserialize(deserializer).map(|_| Self)
        }
    }

    #[derive(Debug, Default, Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "at_most::<2, _, _>")]
        list: Vec<Counted>,
        #[serde(default, deserialize_with = "given_at_most::<2, _, _>")]
        given: Option<Vec<u8>>,
        #[serde(default, deserialize_with = "optional_at_most::<2, _, _>")]
        optional: Option<Vec<u8>>,
        #[serde(default, deserialize_with = "entries_at_most::<2, _, _>")]
        entries: BTreeMap<String, u8>,
    }

    fn read(body: &str) -> Result<Body, String> {
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_read_as_far_as_it_may_go_and_no_further_h1() {
        let endless = format!(r#"{{"list": [{}1]}}"#, "1,".repeat(349_384));
        READ.set(0);
        let error = read(&endless).unwrap_err();
        assert!(error.starts_with("must have at most 2 items"), "{error}");
        assert_eq!(READ.get(), 2);
        assert_eq!(read(r#"{"list": [1, 2]}"#).unwrap().list.len(), 2);
        assert!(read("{}").unwrap().list.is_empty());
    }

    #[test]
    fn null_is_a_list_left_out_only_where_that_is_said() {
        assert_eq!(read(r#"{"given": [1]}"#).unwrap().given, Some(vec![1]));
        assert!(read(r#"{"given": null}"#).is_err());
        assert!(read(r#"{"given": [1, 2, 3]}"#).is_err());
        assert_eq!(read(r#"{"optional": null}"#).unwrap().optional, None);
        assert_eq!(read(r#"{"optional": [1, 2]}"#).unwrap().optional, Some(vec![1, 2]));
        assert!(read(r#"{"optional": [1, 2, 3]}"#).is_err());
    }

    #[test]
    fn members_of_an_object_are_counted_as_they_are_written() {
        assert_eq!(read(r#"{"entries": {"a": 1, "b": 2}}"#).unwrap().entries.len(), 2);
        assert!(read(r#"{"entries": {"a": 1, "a": 2, "a": 3}}"#).is_err());
    }
}
