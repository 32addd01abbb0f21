//! The `code` of a refusal that the operator decides by.

/// A problem of the internal API. Other codes are told to people and decide nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The shop has never heard of the sale.
    SaleUnknown,
    /// A newer leader has commanded this sale since.
    StaleFence,
    /// Something is still on its way, so the books cannot be compared yet.
    NotDrained,
    /// Events that left Redis are not all in PostgreSQL, so the sale cannot be rebuilt yet.
    EventsInFlight,
    /// Another rebuild of the sale has begun since.
    RebuildSuperseded,
}

impl Code {
    const ALL: [Self; 5] = [
        Self::SaleUnknown,
        Self::StaleFence,
        Self::NotDrained,
        Self::EventsInFlight,
        Self::RebuildSuperseded,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SaleUnknown => "sale-unknown",
            Self::StaleFence => "stale-fence",
            Self::NotDrained => "not-drained",
            Self::EventsInFlight => "events-in-flight",
            Self::RebuildSuperseded => "rebuild-superseded",
        }
    }

    /// `None` for a code that decides nothing.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn every_code_reads_back_and_others_decide_nothing() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("validation-failed"), None);
    }
}
