//! The typed client of the Redis functions.

use std::time::Duration;

use crate::error::StockError;
use crate::event::StreamEntry;
use crate::id::{BuyerId, OrderId, SaleId};
use crate::reservation::{
    ConfirmOutcome, PaymentDetails, PaymentOutcome, ReleaseOutcome, ReleaseReason, Reservation, Reserve,
    ReserveOutcome, SubmitPayment,
};
use crate::sale::{LoadOutcome, PurgeOutcome, SaleCounters, SaleSpec, SaleState, SetStateOutcome};

type Result<T, E = StockError> = std::result::Result<T, E>;

/// Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Stock;

#[expect(clippy::todo, unused_variables, clippy::unused_async)]
impl Stock {
    /// Prepares a client of the Redis at `url`; connects on first use, and again whenever needed.
    pub fn connect(url: &str) -> Result<Self> {
        todo!()
    }
    /// The same with another limit on how long an answer may take (2 s).
    pub fn with_response_timeout(self, limit: Duration) -> Self {
        todo!()
    }
    /// Loads the function library if Redis has none or an older one.
    pub async fn ensure_functions(&self) -> Result<()> {
        todo!()
    }
    /// Answers when Redis does.
    pub async fn ping(&self) -> Result<()> {
        todo!()
    }

    pub async fn load(&self, spec: &SaleSpec) -> Result<LoadOutcome> {
        todo!()
    }
    pub async fn counters(&self, sale: SaleId) -> Result<Option<SaleCounters>> {
        todo!()
    }
    pub async fn set_state(&self, sale: SaleId, fence: u64, state: SaleState) -> Result<SetStateOutcome> {
        todo!()
    }
    pub async fn purge(&self, sale: SaleId, fence: u64) -> Result<PurgeOutcome> {
        todo!()
    }
    /// Ids of sales that have a stream.
    pub async fn sales(&self) -> Result<Vec<SaleId>> {
        todo!()
    }

    /// One outcome per wish, in order. Every wish must be for `sale`.
    pub async fn reserve(&self, sale: SaleId, wishes: &[Reserve]) -> Result<Vec<ReserveOutcome>> {
        todo!()
    }
    pub async fn prepare_payment(
        &self,
        sale: SaleId,
        order: OrderId,
        buyer: BuyerId,
        details: PaymentDetails,
    ) -> Result<PaymentOutcome> {
        todo!()
    }
    /// One outcome per wish, in order. Every wish must be for `sale`.
    pub async fn submit_payments(
        &self,
        sale: SaleId,
        wishes: &[SubmitPayment],
    ) -> Result<Vec<PaymentOutcome>> {
        todo!()
    }
    pub async fn submit_payment(&self, wish: &SubmitPayment) -> Result<PaymentOutcome> {
        todo!()
    }
    pub async fn confirm(&self, sale: SaleId, orders: &[OrderId]) -> Result<Vec<ConfirmOutcome>> {
        todo!()
    }
    pub async fn release(
        &self,
        sale: SaleId,
        orders: &[(OrderId, ReleaseReason)],
    ) -> Result<Vec<ReleaseOutcome>> {
        todo!()
    }
    /// A buyer's own cancel; another buyer's order is `Unknown`.
    pub async fn cancel(&self, sale: SaleId, order: OrderId, buyer: BuyerId) -> Result<ReleaseOutcome> {
        todo!()
    }
    /// Releases up to `limit` reservations whose deadline has passed by Redis' clock; how many.
    pub async fn expire(&self, sale: SaleId, limit: usize) -> Result<usize> {
        todo!()
    }
    pub async fn get(&self, sale: SaleId, order: OrderId) -> Result<Option<Reservation>> {
        todo!()
    }
    /// A page of all reservations; start with cursor 0 and stop when 0 comes back. A reservation
    /// may come twice, and is seen at least once if it existed throughout.
    pub async fn scan_reservations(
        &self,
        sale: SaleId,
        cursor: u64,
        count: usize,
    ) -> Result<(u64, Vec<Reservation>)> {
        todo!()
    }

    /// Entries after the entry id `after` (`"0"` for all); waits up to `block` for the first
    /// (zero: does not wait).
    pub async fn read_events(
        &self,
        sale: SaleId,
        after: &str,
        count: usize,
        block: Duration,
    ) -> Result<Vec<StreamEntry>> {
        todo!()
    }
    /// Deletes all entries up to and including `up_to`; how many.
    pub async fn trim(&self, sale: SaleId, up_to: &str) -> Result<u64> {
        todo!()
    }
}
