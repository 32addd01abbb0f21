//! Words with one typo: a letter changed, missing, added, or two neighbours swapped.

use std::sync::Arc;

use tantivy::Term;
use tantivy::query::{AutomatonWeight, DfaWrapper, EnableScoring, FuzzyTermQuery, Query, Weight};
use tantivy::schema::Field;

/// The documents with a word in a field that is within one typo. The automaton that recognizes these words is
/// built once and serves every field, every segment and every search of a request.
#[derive(Clone)]
pub(super) struct TypoQuery {
    automaton: Arc<DfaWrapper>,
    field: Field,
}

impl TypoQuery {
    /// Words like `word` in `field`; with `as_beginning` also those that begin like it.
    pub(super) fn new(field: Field, word: &str, as_beginning: bool) -> tantivy::Result<Self> {
        let like = if as_beginning { FuzzyTermQuery::new_prefix } else { FuzzyTermQuery::new };
        let automaton = like(Term::from_field_text(field, word), 1, true).automaton()?;
        Ok(Self { automaton: Arc::new(automaton), field })
    }

    /// The same words in another field.
    pub(super) fn in_field(&self, field: Field) -> Self {
        Self { automaton: Arc::clone(&self.automaton), field }
    }
}

impl std::fmt::Debug for TypoQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypoQuery").field("field", &self.field).finish_non_exhaustive()
    }
}

impl Query for TypoQuery {
    fn weight(&self, _scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(AutomatonWeight::<DfaWrapper>::new(self.field, Arc::clone(&self.automaton))))
    }
}
