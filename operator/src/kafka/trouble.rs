//! Why brokers do not answer. librdkafka's requests only time out; it reports the reason separately.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

/// How long to listen for one event, and for how many events at most.
const HEARING: Duration = Duration::from_millis(200);
const MANY: usize = 20;

/// What a client last heard; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trouble {
    last: Arc<Mutex<Option<String>>>,
}

impl Trouble {
    /// Listens for what the client has heard since, and returns the latest of it. Blocking.
    pub(super) fn hear(&self, client: &BaseConsumer<Self>) -> Option<String> {
        (0..MANY).find(|_| client.poll(HEARING).is_none());
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers down" follows from what we heard about each broker, and the end of a log is not
        // trouble.
        let known = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::PartitionEOF];
        if error.rdkafka_error_code().is_none_or(|code| !known.contains(&code)) {
            // The rest is times and counts, which would make the same message look new each time.
            let why = reason.split(" (after ").next().unwrap_or(reason).to_owned();
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
    }
}

impl ConsumerContext for Trouble {}
