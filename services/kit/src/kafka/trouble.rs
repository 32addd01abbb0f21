//! Why brokers do not answer.
//!
//! To us, librdkafka's requests only time out. It reports the reason (a wrong password, an untrusted
//! certificate, nobody listening) separately, in events. We keep the last such event here, so that an error
//! can name it.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::recreated::Recreated;

/// What was last reported to a client. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Trouble {
    last: Arc<Mutex<Option<String>>>,
    recreated: Recreated,
}

impl Trouble {
    /// The reason as the end of a sentence: `: …`, or nothing when we know none.
    pub(super) fn because(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    }

    pub(super) fn recreated(&self) -> &Recreated {
        &self.recreated
    }

    /// Remembers an event and logs it.
    pub(super) fn note(&self, error: &KafkaError, reason: &str) {
        metrics::counter!("kafka_client_errors_total").increment(1);
        tracing::warn!(%error, reason, "Kafka client");
        // This one only follows from what was reported for each broker.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            // The rest are times and counts.
            let why = reason.split(" (after ").next().unwrap_or(reason).to_owned();
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
    }
}

impl ClientContext for Trouble {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.recreated.hear(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // We asked to be told where a log ends, and it comes among the messages: that is no trouble.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            self.note(&error, reason);
        }
    }
}

impl ConsumerContext for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k22_the_end_of_a_log_is_no_trouble() {
        let trouble = Trouble::default();
        let end = KafkaError::Global(RDKafkaErrorCode::PartitionEOF);
        ClientContext::error(&trouble, end, "Fetch from broker 1 reached end of partition at offset 7");
        assert_eq!(trouble.because(), "");
    }

    #[test]
    fn the_last_reason_is_told_without_times_and_that_all_are_down_is_none() {
        let trouble = Trouble::default();
        assert_eq!(trouble.because(), "");
        let refused = "ssl://kafka:9093/bootstrap: the password is wrong (after 3ms in state AUTH_REQ)";
        trouble.note(&KafkaError::Global(RDKafkaErrorCode::Authentication), refused);
        trouble.note(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(trouble.because(), ": ssl://kafka:9093/bootstrap: the password is wrong");
    }
}
