//! Collects every rule a body broke, so that a person corrects a form once.

use rocketmart_kit::problem::{FieldError, Problem};

use crate::domain::RuleBroken;

#[derive(Default)]
pub(super) struct Fields(Vec<FieldError>);

impl Fields {
    /// Notes a broken rule under the name of its field.
    pub(super) fn check<T>(&mut self, field: &str, parsed: Result<T, RuleBroken>) -> Option<T> {
        parsed.map_err(|broken| self.0.push(FieldError::new(field, broken.rule, broken.detail))).ok()
    }

    /// The problem to answer with when a value is missing, which it is only if a rule was broken.
    pub(super) fn into_problem(self) -> Problem {
        Problem::validation(self.0)
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }
}
