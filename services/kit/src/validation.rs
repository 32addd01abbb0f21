//! The rules that a request breaks, collected up to a limit, so that the caller can fix all of them at once.
//!
//! We count a list before we look at its items: a list with too many items breaks one rule, and not as many
//! as it has items.

use std::ops::RangeInclusive;

use crate::problem::{FieldError, Problem};
use crate::text::Text;

/// The rules that a request broke so far.
#[derive(Debug, Default)]
pub struct Violations {
    errors: Vec<FieldError>,
    /// How many came after [`Problem::MOST_ERRORS`]: counted, not kept.
    more: usize,
}

impl Violations {
    pub fn add(&mut self, error: FieldError) {
        if self.errors.len() < Problem::MOST_ERRORS {
            self.errors.push(error);
        } else {
            self.more += 1;
        }
    }

    /// Adds a violation from its parts.
    pub fn rule(&mut self, field: impl Into<String>, rule: &str, detail: impl Into<String>) {
        self.add(FieldError::new(field, rule, detail));
    }

    /// The text as we keep it. If it breaks a rule, that is added and the text is empty.
    pub fn text(&mut self, field: &str, rule: Text, written: &str) -> String {
        rule.check(field, written).unwrap_or_else(|error| {
            self.add(error);
            String::new()
        })
    }

    /// Like [`Self::text`], for a text that may be left out.
    pub fn optional_text(&mut self, field: &str, rule: Text, written: Option<&str>) -> Option<String> {
        rule.check_optional(field, written).unwrap_or_else(|error| {
            self.add(error);
            None
        })
    }

    /// Whether a list is short enough for us to look at its items. Too few items also break a rule, but can
    /// be looked at.
    #[must_use = "the items of a list that is too long are not looked at"]
    pub fn count(&mut self, field: &str, count: usize, allowed: RangeInclusive<usize>) -> bool {
        let (least, most) = allowed.into_inner();
        if count < least {
            self.rule(field, "min-items", format!("must have at least {least}"));
        }
        if count > most {
            self.rule(field, "max-items", format!("must have at most {most}, has {count}"));
        }
        count <= most
    }

    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// 422 with the broken rules, if there are any.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let mut problem = Problem::validation(self.errors);
        if self.more > 0 {
            problem = problem.with("more_errors", self.more);
        }
        Err(problem)
    }
}

impl From<Violations> for Problem {
    /// 422 with the broken rules.
    fn from(violations: Violations) -> Self {
        violations.finish().err().unwrap_or_else(|| Self::validation(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_too_long_breaks_one_rule_whatever_is_in_it_h1() {
        let mut violations = Violations::default();
        let tags = vec![""; 349_385];
        if violations.count("tags", tags.len(), 0..=20) {
            for tag in &tags {
                violations.text("tags[]", Text::line(64), tag);
            }
        }
        let problem = violations.finish().unwrap_err();
        assert_eq!(problem.errors.len(), 1);
        assert_eq!(problem.errors[0].rule, "max-items");
    }

    #[test]
    fn of_many_broken_rules_some_are_named_and_the_others_counted_h1() {
        let mut violations = Violations::default();
        for line in 0..75 {
            violations.rule(format!("lines[{line}]"), "range", "at least 1");
        }
        let problem = violations.finish().unwrap_err();
        assert_eq!(problem.errors.len(), 50);
        assert_eq!(problem.extra.unwrap()["more_errors"], 25);
    }

    #[test]
    fn texts_come_out_as_they_are_kept() {
        let mut violations = Violations::default();
        assert_eq!(violations.text("name", Text::line(9), " a "), "a");
        assert_eq!(violations.optional_text("line2", Text::line(9), Some(" ")), None);
        assert!(violations.is_empty());
        assert_eq!(violations.text("name", Text::line(9), ""), "");
        assert!(violations.finish().is_err());
    }
}
