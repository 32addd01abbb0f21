//! The security log: who got in, who did not, and who used rights that few people have (OWASP ASVS 5, chapter
//! 16.3).
//!
//! Each event is one line with the target `security`; `RUST_LOG` does not turn it off unless it names that
//! target. A line says what happened, with which outcome, about whom and from where. Like every line, it also
//! gets the request and its trace. It holds no secrets: neither passwords nor tokens, and an e-mail address
//! only as a digest, by which you find the lines about that address.
//!
//! A flood of requests does not flood the log: each caller's refusals write a few dozen lines and then one a
//! second. The metric `security_events_total` counts them all.

use std::net::IpAddr;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::rate_limit::{Rate, RateLimit};

/// Filter the lines by this target.
pub const TARGET: &str = "security";

const REFUSALS_OF_ONE_CALLER: Rate = Rate { per_second: 1, burst: 30 };

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    #[default]
    Allowed,
    Refused,
}

/// What happened. Unknown fields are left out of the line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'a> {
    /// A stable name, such as `log-in`.
    pub event: &'static str,
    pub outcome: Outcome,
    /// Why, or what exactly: a stable name, such as a problem's code.
    pub reason: Option<&'static str>,
    /// Who did it, or whose token was used.
    pub member: Option<Uuid>,
    pub session: Option<Uuid>,
    /// The e-mail address that was given, whether or not it belongs to anybody.
    pub email: Option<&'a str>,
    /// The address that our proxies vouch for.
    pub address: Option<IpAddr>,
    /// What `X-Forwarded-For` said, where we do not look at addresses.
    pub forwarded_for: Option<&'a str>,
    /// How many members it was about.
    pub members: Option<usize>,
}

/// Who was refused: whatever we know of them.
type Caller = (&'static str, Option<Uuid>, Option<IpAddr>);

static REFUSALS: LazyLock<RateLimit<Caller>> = LazyLock::new(|| RateLimit::new(REFUSALS_OF_ONE_CALLER));

pub fn record(entry: Entry<'_>) {
    let outcome = match entry.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Refused => "refused",
    };
    metrics::counter!("security_events_total", "event" => entry.event, "outcome" => outcome).increment(1);
    let caller = (entry.event, entry.member, entry.address);
    if entry.outcome == Outcome::Refused && REFUSALS.admit(caller).is_err() {
        return;
    }
    tracing::info!(
        target: TARGET,
        event = entry.event,
        outcome,
        reason = entry.reason,
        member = entry.member.map(tracing::field::display),
        session = entry.session.map(tracing::field::display),
        email = entry.email.map(digest),
        address = entry.address.map(tracing::field::display),
        forwarded_for = entry.forwarded_for.map(bounded),
        members = entry.members,
        "{} {outcome}",
        entry.event
    );
}

/// The first half of SHA-256, in hexadecimal digits.
pub fn digest(email: &str) -> String {
    hex::encode(&Sha256::digest(email)[..16])
}

/// We do not write down everything that a caller made up, however long.
fn bounded(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::capture;

    #[test]
    fn a_line_says_what_whom_and_whence_and_no_address_in_clear_m13() {
        let member = Uuid::new_v4();
        let (lines, ()) = capture(|| {
            record(Entry {
                event: "test-log-in",
                outcome: Outcome::Refused,
                reason: Some("password-wrong"),
                member: Some(member),
                email: Some("ada@example.com"),
                address: Some("192.0.2.1".parse().unwrap()),
                ..Entry::default()
            });
        });
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(line["target"], TARGET);
        assert_eq!((&line["event"], &line["outcome"]), (&"test-log-in".into(), &"refused".into()));
        assert_eq!((&line["reason"], &line["address"]), (&"password-wrong".into(), &"192.0.2.1".into()));
        assert_eq!(line["member"], member.to_string());
        assert_eq!(line["email"], digest("ada@example.com"));
        assert!(line.get("session").is_none() && !lines.contains("ada@"), "{lines}");
    }

    #[test]
    fn a_flood_of_refusals_writes_some_tens_of_lines_m13() {
        let refused = |event| Entry { event, outcome: Outcome::Refused, ..Entry::default() };
        let (lines, ()) = capture(|| (0..1_000).for_each(|_| record(refused("test-flood"))));
        let written = lines.lines().count();
        assert!((30..60).contains(&written), "{written}");
        let (lines, ()) = capture(|| record(refused("test-other")));
        assert_eq!(lines.lines().count(), 1, "others are not kept from it");
    }
}
