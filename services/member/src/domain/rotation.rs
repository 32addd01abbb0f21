//! What happens when a refresh token is presented (RFC 9700, 4.14.2).
//!
//! Each token works once and is replaced. Presented again, either its owner never got the answer
//! (a lost response, two tabs) or somebody else has a copy. The two cannot be told apart with
//! certainty; we believe in a lost response only for a moment, and only while no replacement has
//! been used, since who uses the replacement got the answer.

use time::{Duration, OffsetDateTime};

/// How long a lost response is believed.
pub(crate) const GRACE: Duration = Duration::seconds(10);

/// A presented token as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented {
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) replaced_at: Option<OffsetDateTime>,
    /// One of its replacements has been replaced in turn.
    pub(crate) successor_used: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Give a replacement.
    Rotate,
    /// Too old; nothing to suspect.
    Expired,
    /// Two parties hold it: end the whole session.
    Reused,
}

pub(crate) fn judge(token: Presented, now: OffsetDateTime) -> Verdict {
    match token.replaced_at {
        _ if token.expires_at <= now => Verdict::Expired,
        None => Verdict::Rotate,
        Some(replaced_at) if now - replaced_at <= GRACE && !token.successor_used => Verdict::Rotate,
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
    fn a_lost_response_is_believed_for_ten_seconds() {
        assert_eq!(presented(Some(10), false), Verdict::Rotate);
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
