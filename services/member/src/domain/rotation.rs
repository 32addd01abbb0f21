//! What happens when somebody presents a refresh token (RFC 9700, 4.14.2).
//!
//! Each token works once and is then replaced, so a family of them (a session) has exactly one living token.
//! If a token comes again, either its owner never got the answer (a lost response, two tabs) or somebody else
//! has a copy. We cannot tell the two apart with certainty. We believe in a lost response only for a moment,
//! and only while nobody has used the replacement, because whoever uses it got the answer. If we believe it,
//! we give the same replacement again. Two different ones would start two chains that live on side by side,
//! and nobody would ever notice a thief's.

use time::{Duration, OffsetDateTime};

/// How long we believe in a lost response.
pub(crate) const GRACE: Duration = Duration::seconds(10);

/// A presented token, as stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented {
    /// The token's end or its session's, whichever comes first.
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) replaced_at: Option<OffsetDateTime>,
    /// Its replacement has itself been replaced.
    pub(crate) successor_used: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Give a replacement.
    Rotate,
    /// Give the same replacement again.
    Repeat,
    /// Too old, but not suspicious.
    Expired,
    /// Two parties have it: end the whole session.
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
