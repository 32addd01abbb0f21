//! Rebuilds a sale from what SQL has of it.
//!
//! It builds page by page, beside the sale's own keys, and swaps the result in at the end. Until then Redis
//! does not know the sale, so nothing is sold, confirmed or expired based on half of it.

use std::collections::HashMap;

use crate::keys;
use crate::reply::Reply;
use crate::reservation::{Reservation, ReservationState};
use crate::restore::{Counter, Remembered, Restore, RestoreOutcome};

use super::{Arguments, Function, Result, Stock};

const BEGIN: Function = Function::new("rocketmart_restore_begin");
const PAGE: Function = Function::new("rocketmart_restore_page");
const SWAP: Function = Function::new("rocketmart_restore_swap");
/// How many reservations one call writes: few enough that other sales hardly wait for it.
const AT_ONCE: usize = 500;

impl Stock {
    /// Forgets what Redis has left of a sale and builds it anew. If it is cut short, start again with a
    /// higher incarnation.
    pub async fn restore(&self, restore: &Restore) -> Result<RestoreOutcome> {
        let sale = restore.spec.id;
        let keys = keys::all_and_beside(sale);
        let begin = Arguments::default().with(restore.spec.fence).with(restore.incarnation);
        let mut outcome = read(self.call_on(BEGIN, &keys, begin).await?)?;
        for page in restore.reservations.chunks(AT_ONCE) {
            if let Some(refused) = outcome {
                return Ok(refused);
            }
            let mut arguments = Arguments::default().with(restore.incarnation);
            for remembered in page {
                push(&mut arguments, remembered);
            }
            outcome = read(self.call_on(PAGE, &keys, arguments).await?)?;
        }
        if let Some(refused) = outcome {
            return Ok(refused);
        }
        // We list the sale before it exists, so that nobody ever overlooks a sale with a stream.
        self.query_sales::<i64>(redis::cmd("SADD").arg(keys::SALES).arg(sale.to_string())).await?;
        let outcome = read(self.call_on(SWAP, &keys, swap(restore)).await?)?;
        self.sold_out.clear(sale);
        Ok(outcome.unwrap_or(RestoreOutcome::Restored))
    }
}

/// `None` means that the step succeeded.
fn read(mut reply: Reply) -> Result<Option<RestoreOutcome>> {
    reply.outcome(|name, rest| {
        Ok(Some(match name {
            "begun" | "written" | "restored" => None,
            "differs" => Some(RestoreOutcome::Differs { what: rest.text()?, found: rest.number()? }),
            "superseded" => Some(RestoreOutcome::Superseded),
            "stale_fence" => Some(RestoreOutcome::StaleFence { seen: rest.number()? }),
            _ => return Ok(None),
        }))
    })
}

fn swap(restore: &Restore) -> Arguments {
    let spec = &restore.spec;
    let mut counted: HashMap<(&str, Counter), i64> = HashMap::new();
    for remembered in &restore.reservations {
        let Some(counter) = remembered.counts_as() else { continue };
        for line in &remembered.reservation.lines {
            *counted.entry((line.sku.as_str(), counter)).or_default() += i64::from(line.quantity);
        }
    }
    let units = |sku: &str, counter| counted.get(&(sku, counter)).copied().unwrap_or_default();
    let mut arguments = Arguments::default()
        .with(restore.incarnation)
        .with(restore.state.as_str())
        .with(restore.stream_from_ms)
        .with(restore.reservations.len());
    arguments.push_terms(spec);
    for item in &spec.items {
        arguments.push_item(item);
        arguments.push(units(&item.sku, Counter::Reserved));
        arguments.push(units(&item.sku, Counter::Sold));
    }
    arguments
}

fn push(arguments: &mut Arguments, Remembered { reservation, wish }: &Remembered) {
    arguments.push_id(reservation.order.0);
    arguments.push(record(reservation));
    let (key, hash) = wish.as_ref().map(|(key, hash)| (key.as_str(), hash.as_str())).unzip();
    arguments.push_optional(key.map(|key| format!("{}|{key}", reservation.buyer)));
    arguments.push_optional(hash);
    let runs = matches!(reservation.state, ReservationState::Reserved | ReservationState::PaymentSubmitted);
    arguments.push_optional(runs.then_some(reservation.pay_by_ms));
}

/// Packs a reservation into a record, in the format that `functions.lua` describes.
fn record(reservation: &Reservation) -> String {
    let state = match reservation.state {
        ReservationState::Reserved if reservation.payment_prepared => "prepared",
        ReservationState::Reserved => "reserved",
        ReservationState::PaymentSubmitted => "submitted",
        ReservationState::Confirmed => "confirmed",
        ReservationState::Released(reason) => reason.as_str(),
    };
    let lines: Vec<_> = reservation
        .lines
        .iter()
        .map(|line| format!("{}*{}*{}", line.sku, line.quantity, line.unit_price))
        .collect();
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let declines = match reservation.declined_payments {
        0 => String::new(),
        declines => format!("|{declines}"),
    };
    format!(
        "{state}|{}|{}|{}|{}|{}|{}|{}{declines}",
        reservation.buyer,
        reservation.amount,
        reservation.reserved_at_ms,
        reservation.pay_by_ms,
        id(reservation.payment_method_id),
        id(reservation.delivery_address_id),
        lines.join(",")
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::id::OrderId;
    use crate::reply::parse_record;
    use crate::reservation::{PricedLine, ReleaseReason};
    use crate::{BuyerId, SaleId};

    #[test]
    fn a_record_that_is_written_reads_back() {
        let line = |sku: &str| PricedLine { sku: sku.into(), quantity: 2, unit_price: 1000 };
        let reserved = Reservation {
            order: OrderId(Uuid::from_u128(1)),
            sale: SaleId(Uuid::from_u128(2)),
            buyer: BuyerId(Uuid::from_u128(3)),
            lines: vec![line("a"), line("b")],
            amount: 4000,
            currency: "EUR".into(),
            state: ReservationState::Reserved,
            reserved_at_ms: 10,
            pay_by_ms: 20,
            payment_prepared: false,
            payment_method_id: Some(Uuid::from_u128(4)),
            delivery_address_id: None,
            declined_payments: 3,
        };
        for state in [
            ReservationState::Reserved,
            ReservationState::PaymentSubmitted,
            ReservationState::Confirmed,
            ReservationState::Released(ReleaseReason::Cancelled),
        ] {
            let reservation = Reservation { state, ..reserved.clone() };
            let read = parse_record(reservation.sale, reservation.order, "EUR", &record(&reservation));
            assert_eq!(read.unwrap(), reservation);
        }
    }
}
