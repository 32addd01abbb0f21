//! What happens when a refresh token is presented (RFC 9700, 4.14.2).
//!
//! Each token works once and is replaced, so a family of them, a session, has one that is living.
//! Presented again, either its owner never got the answer (a lost response, two tabs) or somebody
//! else has a copy. The two cannot be told apart with certainty; we believe in a lost response only
//! for a moment, and only while the replacement has not been used, since who uses it got the answer.
//! Whoever is believed gets the same replacement again: two would be two chains that live on beside
//! each other, and a thief's would never be noticed.

use time::{Duration, OffsetDateTime};

/// How long a lost response is believed.
pub(crate) const GRACE: Duration = Duration::seconds(10);

/// A presented token as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented {
    /// Or its session, whichever is first.
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) replaced_at: Option<OffsetDateTime>,
    /// Its replacement has been replaced in turn.
    pub(crate) successor_used: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Give a replacement.
    Rotate,
    /// Give the replacement that was given already.
    Repeat,
    /// Too old; nothing to suspect.
    Expired,
    /// Two parties hold it: end the whole session.
    Reused,
}

pub(crate) fn judge(token: Presented, now: OffsetDateTime) -> Verdict {
    match token.replaced_at {
        _ if token.expires_at <= now => Verdict::Expired,
        None => Verdict::Rotate,
        Some(replaced_at) if now - replaced_at <= GRACE && !token.successor_used => Verdict::Repeat,
        Some(_) => Verdict::Reused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn presented(replaced_seconds_ago: Option<i64>, successor_used: bool) -> Verdict {
        let replaced_at = replaced_seconds_ago.map(|seconds| NOW - Duration::seconds(seconds));
        judge(Presented { expires_at: NOW + Duration::DAY, replaced_at, successor_used }, NOW)
    }

    #[test]
    fn a_fresh_token_is_replaced() {
        assert_eq!(presented(None, false), Verdict::Rotate);
    }

    #[test]
    fn a_lost_response_is_repeated_for_ten_seconds_m2() {
        assert_eq!(presented(Some(10), false), Verdict::Repeat);
        assert_eq!(presented(Some(11), false), Verdict::Reused);
    }

    #[test]
    fn nobody_lost_a_response_whose_token_is_in_use() {
        assert_eq!(presented(Some(1), true), Verdict::Reused);
    }

    #[test]
    fn an_expired_token_accuses_nobody() {
        let token =
            Presented { expires_at: NOW, replaced_at: Some(NOW - Duration::DAY), successor_used: true };
        assert_eq!(judge(token, NOW), Verdict::Expired);
    }
}
