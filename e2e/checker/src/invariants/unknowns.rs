//! Purchases that never got an answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use crate::{books::Books, history::Told};

/// What became of purchases that never got an answer, by buyer and key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unknowns {
    /// Keys with at least one request that got no definite answer.
    pub keys: usize,
    /// The shopper asked again with the same key and got the order.
    pub answered_later: usize,
    /// The shopper asked again with the same key and was refused.
    pub refused_later: usize,
    /// Never answered, but Redis shows that the purchase was made (it was paid, or it expired).
    pub had_happened: usize,
    /// Never answered, and never made.
    pub had_not_happened: usize,
}

/// Resolves every unknown purchase from later answers and from what Redis remembers.
pub fn unknowns(history: &[Told], books: &Books) -> Unknowns {
    let mut outcomes: BTreeMap<(Uuid, Uuid), BTreeSet<&str>> = BTreeMap::new();
    for told in history.iter().filter(|told| told.operation == "purchase") {
        if let Some(key) = told.key {
            outcomes.entry((told.buyer, key)).or_default().insert(&told.outcome);
        }
    }
    let mut found = Unknowns::default();
    for ((buyer, key), outcomes) in outcomes.iter().filter(|(_, outcomes)| outcomes.contains("unknown")) {
        found.keys += 1;
        let made = books.keys.contains_key(&(*buyer, key.to_string()));
        *match (outcomes.contains("ok"), made, outcomes.contains("refused")) {
            (true, ..) => &mut found.answered_later,
            (false, true, _) => &mut found.had_happened,
            (false, false, true) => &mut found.refused_later,
            (false, false, false) => &mut found.had_not_happened,
        } += 1;
    }
    found
}
