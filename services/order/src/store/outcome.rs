//! Writes everything that a batch decided, in the transaction in which it decided.

use rocketmart_contracts::topic::ORDERS;
use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::PgConnection;

use super::{books, ledger, orders, returns};
use crate::domain::batch::Outcome;

/// What there is to report, as events of `source`.
pub fn told(source: &str, outcome: &Outcome) -> Vec<Event> {
    let events = outcome.effects.emitted.iter().map(|emitted| &emitted.event);
    events.map(|event| Event::new(source, event.event_type(), event.order_id(), event)).collect()
}

/// Writes orders and all that belongs to them. `cause_of` names what led to a transition.
pub async fn write(
    tx: &mut PgConnection,
    outcome: &Outcome,
    told: &[Event],
    cause_of: impl Fn(usize) -> String,
) -> sqlx::Result<()> {
    let effects = &outcome.effects;
    orders::insert(tx, &outcome.made).await?;
    orders::update(tx, &outcome.changed).await?;
    orders::record(tx, &effects.transitions, cause_of).await?;
    returns::save(tx, &effects.returns).await?;
    books::note_charges(tx, &effects.charges).await?;
    books::note_refunds(tx, &effects.refunds).await?;
    outbox::put(tx, ORDERS, told).await?;
    // Stock before ledger, as in the internal API: whoever locks both locks them in the same order. The
    // rows are hot, so they come last.
    ledger::move_stock(tx, &effects.stock).await?;
    ledger::apply(tx, &effects.ledger).await
}
