//! Why brokers do not answer: librdkafka's requests only time out, and it tells the reason beside them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

/// How long to listen for one event, and for how many at the most.
const HEARING: Duration = Duration::from_millis(200);
const MANY: usize = 20;

/// What a client was last told; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trouble {
    last: Arc<Mutex<Option<String>>>,
}

impl Trouble {
    /// Hears what the client was told since, and answers the last of it. Blocking.
    pub(super) fn hear(&self, client: &BaseConsumer<Self>) -> Option<String> {
        (0..MANY).find(|_| client.poll(HEARING).is_none());
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down follows from what was told of each broker; the end of a log is no trouble.
        let known = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::PartitionEOF];
        if error.rdkafka_error_code().is_none_or(|code| !known.contains(&code)) {
            // The rest are times and counts, which would make another message of the same each time.
            let why = reason.split(" (after ").next().unwrap_or(reason).to_owned();
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
    }
}

impl ConsumerContext for Trouble {}
