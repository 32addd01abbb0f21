//! What a consumer hands over, and what it is told in return.

use async_trait::async_trait;

use crate::event::Event;

/// An event and where it came from.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The topic, without the shop's prefix.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub event: Event,
}

/// Takes batches of events.
///
/// A batch may hold events of several topics and partitions; those of one partition are in order.
/// It may hold events seen before: offsets are committed after `handle` returned `Ok`, and a crash
/// in between repeats the batch.
#[async_trait]
pub trait Handler: Send + Sync {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError>;
}

/// Why a batch was not handled. Either way the handler must have undone all of it.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Something needed is away: the whole batch comes again after a pause.
    #[error("the batch could not be handled now: {0:#}")]
    Retry(anyhow::Error),
    /// The event at `index` can never be handled: it is parked, the others come again.
    #[error("event {index} of the batch cannot be handled: {error:#}")]
    Poison { index: usize, error: anyhow::Error },
}

/// Failures without a verdict, such as a lost database connection, are worth another try.
impl From<sqlx::Error> for HandleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Retry(error.into())
    }
}

impl From<anyhow::Error> for HandleError {
    fn from(error: anyhow::Error) -> Self {
        Self::Retry(error)
    }
}
