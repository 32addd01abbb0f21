//! Reads the functions' answers: arrays of texts and whole numbers, and packed records.

use std::str::FromStr;

use redis::{FromRedisValue, ParsingError, Value};
use uuid::Uuid;

use crate::error::StockError;
use crate::id::{OrderId, SaleId};
use crate::reservation::{PricedLine, ReleaseReason, Reservation, ReservationState};

/// An array whose elements we take from the front, one after the other.
#[derive(Debug)]
pub(crate) struct Reply(std::vec::IntoIter<Value>);

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Vec::<Value>::from_redis_value(value).map(|values| Self(values.into_iter()))
    }
}

impl Reply {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    pub(crate) fn text(&mut self) -> Result<String, StockError> {
        self.take()
    }

    /// A number, sent as such or as text.
    pub(crate) fn number<N: FromStr>(&mut self) -> Result<N, StockError> {
        let text = self.text()?;
        text.parse().map_err(|_| unexpected("a number", &text))
    }

    /// The same, or `None` if the text is empty.
    pub(crate) fn optional_number<N: FromStr>(&mut self) -> Result<Option<N>, StockError> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| unexpected("a number or nothing", &text))
    }

    pub(crate) fn reason(&mut self) -> Result<ReleaseReason, StockError> {
        let text = self.text()?;
        ReleaseReason::parse(&text).ok_or_else(|| unexpected("a reason", &text))
    }

    /// An order id followed by its record.
    pub(crate) fn reservation(&mut self, sale: SaleId, currency: &str) -> Result<Reservation, StockError> {
        let order = self.text()?;
        let order = order.parse().map_err(|_| unexpected("an order id", &order))?;
        parse_record(sale, order, currency, &self.text()?)
    }

    /// The rest, where each element is an array of its own. `read` turns each into an outcome; it gets the
    /// outcome's name and what follows it.
    pub(crate) fn outcomes<T>(
        &mut self,
        expected: usize,
        read: impl Fn(&str, &mut Self) -> Result<Option<T>, StockError>,
    ) -> Result<Vec<T>, StockError> {
        if self.0.len() != expected {
            return Err(unexpected(&format!("{expected} outcomes"), &self.0.len().to_string()));
        }
        let mut outcomes = Vec::with_capacity(expected);
        for _ in 0..expected {
            let mut outcome = self.take::<Self>()?;
            outcomes.push(outcome.outcome(&read)?);
        }
        Ok(outcomes)
    }

    /// This whole array as one outcome.
    pub(crate) fn outcome<T>(
        &mut self,
        read: impl Fn(&str, &mut Self) -> Result<Option<T>, StockError>,
    ) -> Result<T, StockError> {
        let name = self.text()?;
        read(&name, self)?.ok_or_else(|| unexpected("an outcome", &name))
    }

    fn take<T: FromRedisValue>(&mut self) -> Result<T, StockError> {
        let value = self.0.next().ok_or_else(|| unexpected("one more value", "the end"))?;
        T::from_redis_value(value).map_err(|error| StockError::Protocol(error.to_string()))
    }
}

pub(crate) fn unexpected(expected: &str, found: &str) -> StockError {
    StockError::Protocol(format!("expected {expected}, found {found:?}"))
}

/// Reads a record in the format that `functions.lua` describes.
pub(crate) fn parse_record(
    sale: SaleId,
    order: OrderId,
    currency: &str,
    record: &str,
) -> Result<Reservation, StockError> {
    let broken = || unexpected("a record", record);
    let mut fields: Vec<&str> = record.split('|').collect();
    // A record written before we counted declined payments has no such field.
    if fields.len() == 8 {
        fields.push("0");
    }
    let [state, buyer, amount, reserved_at, pay_by, method, address, lines, declines] = fields[..] else {
        return Err(broken());
    };
    Ok(Reservation {
        order,
        sale,
        buyer: buyer.parse().map_err(|_| broken())?,
        lines: lines.split(',').map(parse_line).collect::<Option<_>>().ok_or_else(broken)?,
        amount: amount.parse().map_err(|_| broken())?,
        currency: currency.to_owned(),
        state: parse_state(state).ok_or_else(broken)?,
        reserved_at_ms: reserved_at.parse().map_err(|_| broken())?,
        pay_by_ms: pay_by.parse().map_err(|_| broken())?,
        payment_prepared: state == "prepared",
        payment_method_id: parse_id(method).map_err(|_| broken())?,
        delivery_address_id: parse_id(address).map_err(|_| broken())?,
        declined_payments: declines.parse().map_err(|_| broken())?,
    })
}

fn parse_state(word: &str) -> Option<ReservationState> {
    Some(match word {
        "reserved" | "prepared" => ReservationState::Reserved,
        "submitted" => ReservationState::PaymentSubmitted,
        "confirmed" => ReservationState::Confirmed,
        reason => ReservationState::Released(ReleaseReason::parse(reason)?),
    })
}

fn parse_line(line: &str) -> Option<PricedLine> {
    let mut parts = line.split('*');
    let (sku, quantity, unit_price) = (parts.next()?, parts.next()?, parts.next()?);
    Some(PricedLine {
        sku: sku.to_owned(),
        quantity: quantity.parse().ok()?,
        unit_price: unit_price.parse().ok()?,
    })
}

/// The empty text is no id.
fn parse_id(text: &str) -> Result<Option<Uuid>, uuid::Error> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUYER: &str = "0192f0c1-0000-7000-8000-000000000001";
    const METHOD: &str = "0192f0c1-0000-7000-8000-000000000002";

    fn parse(record: &str) -> Result<Reservation, StockError> {
        parse_record(SaleId(Uuid::nil()), OrderId(Uuid::nil()), "EUR", record)
    }

    #[test]
    fn a_record_with_two_lines_is_read_in_full() {
        let reservation = parse(&format!("prepared|{BUYER}|2500|10|20|{METHOD}||a*2*1000,b*1*500")).unwrap();
        assert_eq!(reservation.buyer.to_string(), BUYER);
        assert_eq!(reservation.amount, 2500);
        assert_eq!(reservation.state, ReservationState::Reserved);
        assert!(reservation.payment_prepared);
        assert_eq!(reservation.payment_method_id.map(|id| id.to_string()).as_deref(), Some(METHOD));
        assert_eq!(reservation.delivery_address_id, None);
        assert_eq!((reservation.reserved_at_ms, reservation.pay_by_ms), (10, 20));
        assert_eq!(reservation.lines[1], PricedLine { sku: "b".into(), quantity: 1, unit_price: 500 });
        assert_eq!(reservation.declined_payments, 0);
    }

    #[test]
    fn payments_that_came_to_nothing_stand_behind_the_lines() {
        let reservation = parse(&format!("reserved|{BUYER}|500|10|20|||b*1*500|2")).unwrap();
        assert_eq!(reservation.declined_payments, 2);
    }

    #[test]
    fn a_broken_record_is_an_error_and_not_a_guess() {
        for record in [
            "",
            "reserved",
            &format!("mislaid|{BUYER}|1|1|1|||a*1*1"),
            &format!("reserved|{BUYER}|1|1|1|||a*-1*1"),
            &format!("reserved|{BUYER}|1|1|1||nobody|a*1*1"),
            &format!("reserved|{BUYER}|1|1|1|||a*1*1|some"),
            &format!("reserved|{BUYER}|1|1|1|||a*1*1|1|1"),
        ] {
            assert!(matches!(parse(record), Err(StockError::Protocol(_))), "{record}");
        }
    }
}
