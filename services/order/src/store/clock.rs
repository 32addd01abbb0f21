//! Redis' clock (Unix milliseconds) in PostgreSQL's type and back.

use time::OffsetDateTime;

/// The moment `ms` after the Unix epoch. A moment beyond the calendar (the year 9999) is the sender's
/// mistake and becomes the epoch.
pub fn at(ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Unix milliseconds of a moment.
pub fn ms(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_the_way_there_and_back() {
        for value in [0, 1, 1_763_812_345_678, -5] {
            assert_eq!(ms(at(value)), value);
        }
    }
}
