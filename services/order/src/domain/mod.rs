//! What an order, a sale and its books may do. Pure: values in, values out.
//!
//! [`state`] is the transition table. [`order`] is one order and what each event does to it;
//! [`cancellation`], [`returns`] and [`refunds`] are what may follow its payment.
//! [`order_event`] is what the order service tells the others of it. [`batch`] applies a batch
//! of events in their order and gathers everything that must be written together. [`sale`] checks the terms
//! of a sale. [`close_out`] compares the books at its end. [`rebuild`] says what Redis must hold after it
//! lost a sale. [`supply`] is what sellers say they have. [`standing`] is the part of it that is for sale
//! outside of sales, the ordinary stock. [`cart`] is what a buyer intends to buy of that.

pub mod batch;
pub mod cancellation;
pub mod cart;
pub mod close_out;
#[cfg(test)]
mod facts;
pub mod ledger;
pub mod order;
pub mod order_event;
pub mod rebuild;
pub mod refunds;
pub mod returns;
pub mod sale;
pub mod standing;
pub mod state;
pub mod supply;
