//! What a consumer hands over, and how the handler answers.

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

/// Handles batches of events.
///
/// A batch may hold events of several topics and partitions; those of one partition are in order. It may also
/// hold events that came before: we commit offsets after `handle` has returned `Ok`, and a crash in between
/// repeats the batch.
#[async_trait]
pub trait Handler: Send + Sync {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError>;
}

/// Why a batch was not handled. Either way the handler must have undone all of it.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Something it needs is down: the whole batch comes again after a pause.
    #[error("the batch could not be handled now: {0:#}")]
    Retry(anyhow::Error),
    /// The event at `index` can never be handled: we park it, and the others come again.
    #[error("event {index} of the batch cannot be handled: {error:#}")]
    Poison { index: usize, error: anyhow::Error },
}

/// A failure that does not say which, such as a lost database connection, is worth another try.
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
