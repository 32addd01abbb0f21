//! Records in the order they were made, and ways to find them.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::call::{Outcome, Refusal};
use crate::provider::records::{Authorization, Charge};

/// A record that a book can hold.
pub(in crate::provider) trait Booked: Clone {
    fn id(&self) -> &str;
    fn reference(&self) -> &str;
    fn created_at(&self) -> OffsetDateTime;
}

impl Booked for Charge {
    fn id(&self) -> &str {
        &self.id
    }

    fn reference(&self) -> &str {
        &self.reference
    }

    fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }
}

impl Booked for Authorization {
    fn id(&self) -> &str {
        &self.id
    }

    fn reference(&self) -> &str {
        &self.reference
    }

    fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }
}

/// Each record's id ends with its position.
pub(in crate::provider) struct Book<T> {
    all: Vec<T>,
    by_key: HashMap<String, (u64, usize)>,
    by_reference: HashMap<String, Vec<usize>>,
}

impl<T> Default for Book<T> {
    fn default() -> Self {
        Self { all: Vec::new(), by_key: HashMap::new(), by_reference: HashMap::new() }
    }
}

impl<T: Booked> Book<T> {
    /// The id of the next record.
    pub(super) fn next_id(&self, prefix: &str, run: u32) -> String {
        format!("{prefix}_{run:08x}_{:x}", self.all.len())
    }

    pub(super) fn add(&mut self, record: T) {
        self.by_reference.entry(record.reference().to_owned()).or_default().push(self.all.len());
        self.all.push(record);
    }

    /// Adds the record that the call with this key, and this digest of its body, made.
    pub(super) fn add_by_key(&mut self, key: String, digest: u64, record: T) {
        self.by_key.insert(key, (digest, self.all.len()));
        self.add(record);
    }

    /// The record that the same call made before; with another body its key is refused.
    pub(super) fn made_by(&self, key: &str, digest: u64) -> Result<Option<Outcome<T>>, Refusal> {
        match self.by_key.get(key) {
            None => Ok(None),
            Some(&(known, position)) if known == digest => {
                Ok(Some(Outcome { value: self.all[position].clone(), is_new: false }))
            }
            Some(_) => Err(Refusal::KeyReused),
        }
    }

    pub(in crate::provider) fn find(&self, id: &str) -> Option<&T> {
        self.all.get(position_in(id)?).filter(|record| record.id() == id)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut T> {
        self.all.get_mut(position_in(id)?).filter(|record| record.id() == id)
    }

    pub(in crate::provider) fn of(&self, reference: &str) -> Vec<T> {
        self.positions(reference).iter().map(|&position| self.all[position].clone()).collect()
    }

    pub(super) fn change_all_of(&mut self, reference: &str, change: impl Fn(&mut T)) {
        for position in self.positions(reference).to_vec() {
            change(&mut self.all[position]);
        }
    }

    /// Up to `limit` records from position `from` on, made within `[since, until)`. Also the position to
    /// continue from if there are more.
    pub(in crate::provider) fn page(
        &self,
        from: usize,
        limit: usize,
        since: Option<OffsetDateTime>,
        until: Option<OffsetDateTime>,
    ) -> (Vec<T>, Option<usize>) {
        let before = |time: OffsetDateTime| self.all.partition_point(|record| record.created_at() < time);
        let end = until.map_or(self.all.len(), before);
        let start = from.max(since.map_or(0, before)).min(end);
        let stop = start.saturating_add(limit).min(end);
        (self.all[start..stop].to_vec(), (stop < end).then_some(stop))
    }

    fn positions(&self, reference: &str) -> &[usize] {
        self.by_reference.get(reference).map_or(&[], Vec::as_slice)
    }
}

/// The position at the end of a generated id.
fn position_in(id: &str) -> Option<usize> {
    usize::from_str_radix(id.rsplit('_').next()?, 16).ok()
}
