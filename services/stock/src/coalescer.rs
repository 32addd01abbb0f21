//! Gathers what arrives while the previous call is in flight and sends it as one.

use std::time::Duration;

use crate::error::StockError;
use crate::reservation::{PaymentOutcome, Reserve, ReserveOutcome, SubmitPayment};
use crate::stock::Stock;

/// How much a [`Coalescer`] gathers and lets wait.
#[derive(Debug, Clone, Copy)]
pub struct CoalescerLimits {
    /// Most wishes in one call.
    pub max_batch: usize,
    /// Most wishes waiting per sale; one more is refused as [`StockError::Overloaded`].
    pub max_waiting: usize,
    /// How long a sold-out SKU is believed to stay so.
    pub sold_out_for: Duration,
}

impl Default for CoalescerLimits {
    fn default() -> Self {
        Self { max_batch: 256, max_waiting: 4096, sold_out_for: Duration::from_secs(1) }
    }
}

/// Cheap to clone; all clones share their queues.
#[derive(Clone, Debug)]
pub struct Coalescer;

#[expect(clippy::todo, unused_variables, clippy::unused_async)]
impl Coalescer {
    pub fn new(stock: Stock, limits: CoalescerLimits) -> Self {
        todo!()
    }
    pub async fn reserve(&self, wish: Reserve) -> Result<ReserveOutcome, StockError> {
        todo!()
    }
    pub async fn submit_payment(&self, wish: SubmitPayment) -> Result<PaymentOutcome, StockError> {
        todo!()
    }
}
