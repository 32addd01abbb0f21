//! The ways to the order services of all shops, and who may use them next.
//!
//! Finding one costs two requests to the API server (does the Shop exist, and what is its token), and the
//! controller looks at a running sale every second. So we keep a door that opened and try it first. When it
//! no longer opens, we look for it again.
//!
//! Sales of one shop take turns. A shop that is slow to answer keeps only its own sales waiting: there is
//! no common limit of reconciles across shops.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::internal_api::InternalApi;
use crate::telemetry;

/// Sales of one shop that may be reconciled at the same time.
const TURNS: usize = 4;

/// Namespace and name.
type ShopName = (String, String);

/// One per controller.
#[derive(Default)]
pub(super) struct Doors(Mutex<HashMap<ShopName, Entry>>);

struct Entry {
    turns: Arc<Semaphore>,
    door: Option<InternalApi>,
}

impl Default for Entry {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(TURNS)), door: None }
    }
}

impl Doors {
    /// Waits until another sale of this shop may be reconciled. The turn lasts until the permit is dropped.
    pub(super) async fn turn(&self, namespace: &str, shop: &str) -> Option<OwnedSemaphorePermit> {
        let turns = self.lock().entry(name(namespace, shop)).or_default().turns.clone();
        let waiting = Waiting::begin();
        let turn = turns.acquire_owned().await;
        drop(waiting);
        turn.ok()
    }

    /// The door that opened last time.
    pub(super) fn known(&self, namespace: &str, shop: &str) -> Option<InternalApi> {
        self.lock().get(&name(namespace, shop))?.door.clone()
    }

    pub(super) fn keep(&self, namespace: &str, shop: &str, door: InternalApi) {
        self.lock().entry(name(namespace, shop)).or_default().door = Some(door);
    }

    /// Makes the next reconcile look for the door again.
    pub(super) fn forget(&self, namespace: &str, shop: &str) {
        if let Some(entry) = self.lock().get_mut(&name(namespace, shop)) {
            entry.door = None;
        }
    }

    /// The shop does not exist.
    pub(super) fn remove(&self, namespace: &str, shop: &str) {
        self.lock().remove(&name(namespace, shop));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShopName, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(namespace: &str, shop: &str) -> ShopName {
    (namespace.to_owned(), shop.to_owned())
}

/// One more in the queue, until dropped. A reconcile may be dropped while it waits.
struct Waiting(metrics::Gauge);

impl Waiting {
    fn begin() -> Self {
        let gauge = metrics::gauge!(telemetry::QUEUE, "controller" => "flash-sale");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{super::internal_api, *};

    #[tokio::test]
    async fn sales_of_one_shop_take_turns_and_those_of_another_do_not_wait() {
        let doors = Doors::default();
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(doors.turn("mart", "slow").now_or_never().flatten().expect("a turn"));
        }
        assert!(doors.turn("mart", "slow").now_or_never().is_none());
        assert!(doors.turn("mart", "quick").now_or_never().flatten().is_some());
        assert!(doors.turn("elsewhere", "slow").now_or_never().flatten().is_some());
        turns.pop();
        assert!(doors.turn("mart", "slow").now_or_never().flatten().is_some());
    }

    #[test]
    fn a_door_is_known_from_when_it_opened_until_it_does_not() {
        let doors = Doors::default();
        assert!(doors.known("mart", "rocket").is_none());
        let door = InternalApi::new(internal_api::client().unwrap(), "http://order".into(), "token".into());
        doors.keep("mart", "rocket", door);
        assert!(doors.known("mart", "rocket").is_some() && doors.known("elsewhere", "rocket").is_none());
        doors.forget("mart", "rocket");
        assert!(doors.known("mart", "rocket").is_none());
    }
}
