//! A topic that was deleted and recreated is another topic under an old name.
//!
//! librdkafka goes on as if it were the old one. It takes the new leader epoch, which starts at 0 again, for
//! stale metadata, and then waits forever (confluentinc/librdkafka#4898). Where it does read, it reads from
//! the old position and skips what comes before. A new client cures both, so a client has to know. librdkafka
//! says that a topic's id has changed in its debugging output and nowhere else, so we listen there. Should a
//! version say it in other words, `tests/it/recreated.rs` notices.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// What librdkafka writes for an id that it does not know yet: sixteen zero bytes in Base64.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// A client's topics that were recreated since the last call. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Recreated {
    topics: Arc<Mutex<HashSet<String>>>,
    times: Arc<AtomicU64>,
}

impl Recreated {
    /// Makes librdkafka log what [`Recreated::hear`] listens for: some lines at each refresh of metadata.
    pub(super) fn listen(settings: &mut ClientConfig) {
        settings.set("debug", "metadata").set_log_level(RDKafkaLogLevel::Debug);
    }

    /// Takes a line of librdkafka's log. The lines that we asked for here are not logged again.
    ///
    /// Lines arrive while the client is polled, in their order among the messages: a change of id comes
    /// before the first message of the new topic.
    pub(super) fn hear(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Debug => {
                if let Some(topic) = made_again(line) {
                    tracing::warn!(topic, "the topic was deleted and made again");
                    self.topics().insert(topic.to_owned());
                    self.times.fetch_add(1, Ordering::Release);
                }
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::info!(facility, line, "librdkafka"),
            RDKafkaLogLevel::Warning => tracing::warn!(facility, line, "librdkafka"),
            _ => tracing::error!(facility, line, "librdkafka"),
        }
    }

    pub(super) fn any(&self) -> bool {
        !self.topics().is_empty()
    }

    /// How often a topic was recreated.
    pub(super) fn times(&self) -> u64 {
        self.times.load(Ordering::Acquire)
    }

    /// Returns their full names, and forgets them.
    pub(super) fn take(&self) -> HashSet<String> {
        std::mem::take(&mut *self.topics())
    }

    fn topics(&self) -> MutexGuard<'_, HashSet<String>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The topic of a line such as `[thrd:main]: Topic a.orders changed id from 4N…w to 8c…Q`.
fn made_again(line: &str) -> Option<&str> {
    let (_, change) = line.split_once("Topic ")?;
    let (topic, ids) = change.split_once(" changed id from ")?;
    let (from, _to) = ids.split_once(" to ")?;
    (from != NO_ID).then_some(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_becomes_known_is_no_other_topic() {
        let recreated = Recreated::default();
        let hear = |line| recreated.hear(RDKafkaLogLevel::Debug, "METADATA", line);
        hear("[thrd:main]: Topic a.orders changed id from AAAAAAAAAAAAAAAAAAAAAA to 8cGvBcHkQfqXxJ0u7tEtMg");
        hear("[thrd:main]: Topic a.orders [0] Leader 1 Epoch 0");
        assert!(!recreated.any());
        hear("[thrd:main]: Topic a.orders changed id from 8cGvBcHkQfqXxJ0u7tEtMg to 4NqTLkY0QfSvPZP0x3hJ2w");
        assert!(recreated.any());
        assert_eq!(recreated.take(), HashSet::from(["a.orders".to_owned()]));
        assert!(!recreated.any());
        assert_eq!(recreated.times(), 1);
    }
}
