//! The currencies that a price may be in: those of ISO 4217 that people pay with today.
//!
//! Left out are codes for testing and for no currency (`XTS`, `XXX`), precious metals and units of account
//! (`XAU`, `XDR`), funds (`CLF`) and currencies that another one has replaced (`HRK`). The table is that of the
//! crate `iso_currency`, which takes `VES` for replaced where ISO lists it beside `VED`. Amounts are integers in
//! minor units everywhere; [`Currency::decimals`] says how many of their digits stand behind the decimal point
//! when somebody prints one.

use std::fmt;

use iso_currency::{Currency as Listed, IntoEnumIterator as _};

/// An ISO 4217 currency that people pay with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency(Listed);

impl Currency {
    /// The currency of a code of three capital letters, if it is in use.
    pub fn from_code(code: &str) -> Option<Self> {
        Listed::from_code(code).filter(|listed| is_in_use(*listed)).map(Self)
    }

    /// Three capital letters, such as `KRW`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many digits of an amount in minor units stand behind the decimal point: 0 for KRW, 2 for USD, 3 for KWD.
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// All of them, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        let mut listed: Vec<_> = Listed::iter().filter(|listed| is_in_use(*listed)).collect();
        listed.sort_by_key(Listed::code);
        listed.into_iter().map(Self)
    }

    /// An amount of minor units as people write it, with its code: `19.90 USD`, `12000 KRW`.
    pub fn print(self, minor_units: i64) -> String {
        let decimals = self.decimals();
        let (sign, units) = (if minor_units < 0 { "-" } else { "" }, minor_units.unsigned_abs());
        let divisor = 10_u64.pow(decimals);
        let whole = units / divisor;
        if decimals == 0 {
            return format!("{sign}{whole} {self}");
        }
        let fraction = units % divisor;
        format!("{sign}{whole}.{fraction:0width$} {self}", width = decimals as usize)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

fn is_in_use(listed: Listed) -> bool {
    // A currency without minor units of its own (silver, a unit of account) prices nothing.
    !listed.is_special()
        && !listed.is_fund()
        && (listed.is_superseded().is_none() || listed == Listed::VES)
        && listed.exponent().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_people_pay_with_are_taken_s10() {
        for code in ["KRW", "USD", "EUR", "JPY", "KWD", "XOF", "XPF", "VES"] {
            assert_eq!(Currency::from_code(code).map(Currency::code), Some(code));
        }
        for code in ["KWR", "ABC", "XXX", "XTS", "XAU", "XDR", "CLF", "USN", "HRK", "ZWL", "krw", "KRW ", ""]
        {
            assert_eq!(Currency::from_code(code), None, "{code}");
        }
    }

    #[test]
    fn amounts_are_printed_with_the_decimals_of_their_currency() {
        let print = |code, amount| Currency::from_code(code).map(|currency| currency.print(amount));
        assert_eq!(print("KRW", 12_000).as_deref(), Some("12000 KRW"));
        assert_eq!(print("USD", 1_990).as_deref(), Some("19.90 USD"));
        assert_eq!(print("USD", -5).as_deref(), Some("-0.05 USD"));
        assert_eq!(print("KWD", 1_500).as_deref(), Some("1.500 KWD"));
        assert!(print("JPY", i64::MIN).is_some());
    }

    #[test]
    fn all_of_them_are_listed_once_and_in_order() {
        let codes: Vec<_> = Currency::all().map(Currency::code).collect();
        assert!(codes.is_sorted() && codes.len() > 140, "{codes:?}");
        assert!(codes.iter().all(|code| Currency::from_code(code).is_some()));
    }
}
