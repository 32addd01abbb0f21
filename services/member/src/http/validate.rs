//! Collects all the rules that a body broke, so that a person corrects a form only once.

use rocketmart_kit::problem::Problem;
use rocketmart_kit::validation::Violations;

use crate::domain::RuleBroken;

#[derive(Default)]
pub(super) struct Fields(Violations);

impl Fields {
    /// Notes a broken rule under its field's name.
    pub(super) fn check<T>(&mut self, field: &str, parsed: Result<T, RuleBroken>) -> Option<T> {
        parsed.map_err(|broken| self.0.rule(field, broken.rule, broken.detail)).ok()
    }

    /// The problem to answer with when a value is missing, which happens only if a rule was broken.
    pub(super) fn into_problem(self) -> Problem {
        self.0.finish().err().unwrap_or_else(|| Problem::validation(Vec::new()))
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        self.0.finish()
    }
}
