//! The ids of events from a sale's stream: `<sale>/<entry>/<index in entry>`. The same event has the same
//! id however often it is sent.

use std::fmt::Display;

use rocketmart_stock::StreamPosition;

/// The id under which workers receive an event of a stream.
pub(crate) fn of(sale: impl Display, entry: &str, index: usize) -> String {
    format!("{sale}/{entry}/{index}")
}

/// The position of the entry that an event came from; `None` for events from elsewhere.
pub(crate) fn position(event_id: &str) -> Option<StreamPosition> {
    event_id.split('/').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_the_place_of_its_entry() {
        let position_of = StreamPosition { ms: 1_700_000_000_123, sequence: 4 };
        assert_eq!(position(&of("sale", "1700000000123-4", 2)), Some(position_of));
        assert_eq!(position("0192f0c1-2b3c-7d4e-8f50-112233445566"), None);
    }
}
