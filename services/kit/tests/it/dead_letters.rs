use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::{Consumer, DeadLetter, DeadLetterBox, Delivery, HandleError, Handler};
use rocketmart_kit::outbox::inbox_filter;
use sqlx::PgPool;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{create_topic, database, event, events, eventually, raw_messages, send_raw, shop};

/// Counts each event once, by way of the inbox. It cannot handle a three until that is fixed.
struct Counter {
    pool: PgPool,
    mended: AtomicBool,
}

impl Counter {
    async fn new() -> Arc<Self> {
        let pool = database().await;
        sqlx::query("CREATE TABLE counted (n int)").execute(&pool).await.unwrap();
        Arc::new(Self { pool, mended: AtomicBool::new(false) })
    }

    async fn counted(&self) -> Vec<i32> {
        sqlx::query_scalar("SELECT n FROM counted ORDER BY n").fetch_all(&self.pool).await.unwrap()
    }
}

#[async_trait]
impl Handler for Counter {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let ids: Vec<String> = batch.iter().map(|delivery| delivery.event.id.clone()).collect();
        let mut tx = self.pool.begin().await?;
        let new = inbox_filter(&mut tx, &ids).await?;
        for (index, delivery) in batch.iter().enumerate() {
            let n: i32 = delivery.event.parse()?;
            if n == 3 && !self.mended.load(Ordering::Relaxed) {
                return Err(HandleError::Poison { index, error: anyhow!("three is not a number we like") });
            }
            if new.contains(&delivery.event.id) {
                sqlx::query("INSERT INTO counted VALUES ($1)").bind(n).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

fn consume(shop: &KafkaConfig, handler: &Arc<Counter>) -> DropGuard {
    let stop = CancellationToken::new();
    let consumer = Consumer::new(shop, "worker", &["facts"]).batch(100, Duration::from_millis(20));
    tokio::spawn(consumer.run(handler.clone(), stop.clone()));
    stop.drop_guard()
}

async fn until_there_are(count: usize, letters: &DeadLetterBox) -> Vec<DeadLetter> {
    eventually("the letters are there", async || letters.letters().await.unwrap().len() == count).await;
    letters.letters().await.unwrap()
}

#[tokio::test]
async fn a_letter_that_is_replayed_once_the_cause_is_mended_is_handled_once_and_not_replayed_again() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    let counter = Counter::new().await;
    let letters = DeadLetterBox::of(&shop, "worker");
    assert!(letters.letters().await.unwrap().is_empty(), "no topic, no letters");
    let sent = events("a", 0..5);
    shop.producer().unwrap().send_all("facts", &sent).await.unwrap();
    let _consumer = consume(&shop, &counter);

    let parked = &until_there_are(1, &letters).await[0];
    eventually("the others are counted", async || counter.counted().await == [0, 1, 2, 4]).await;
    assert_eq!(parked.error, "three is not a number we like");
    assert_eq!(parked.header("ce_id"), Some(sent[3].id.as_str()));
    assert_eq!((parked.key.as_deref(), parked.payload.as_deref()), (Some(&b"a"[..]), Some(&b"3"[..])));
    assert_eq!(parked.origin, (shop.topic("facts"), "0".to_owned(), "3".to_owned()));
    assert!(parked.replayed_at.is_none() && parked.parked_at.is_some());
    let found: Vec<String> =
        DeadLetterBox::all(&shop).await.unwrap().into_iter().map(|found| found.component).collect();
    assert_eq!(found, ["worker"]);

    counter.mended.store(true, Ordering::Relaxed);
    let waiting = |letter: &DeadLetter| letter.replayed_at.is_none();
    assert_eq!(letters.replay(waiting).await.unwrap().len(), 1);
    eventually("the three is counted", async || counter.counted().await == [0, 1, 2, 3, 4]).await;
    let kept = &letters.letters().await.unwrap()[0];
    assert!(kept.replayed_at.is_some(), "the letter stays, with its receipt");
    assert!(letters.replay(waiting).await.unwrap().is_empty(), "it does not wait any more");

    // You can still insist: the letter is sent again, and the inbox skips it as a repetition.
    assert_eq!(letters.replay(|_| true).await.unwrap().len(), 1);
    shop.producer().unwrap().send_all("facts", &[event("a", 9)]).await.unwrap();
    eventually("what came behind it is counted", async || counter.counted().await.contains(&9)).await;
    assert_eq!(counter.counted().await, [0, 1, 2, 3, 4, 9]);
    let again = &raw_messages(&shop, "facts", 7).await[6];
    assert_eq!(again.header("ce_id"), sent[3].id);
    assert_eq!(again.header("replayed-from"), format!("{}/0/0", shop.topic("worker.dead-letters")));
    assert!(!again.headers.iter().any(|(name, _)| name == "error" || name.starts_with("origin-")));
}

#[tokio::test]
async fn a_letter_whose_cause_was_not_mended_is_parked_again_as_a_new_one() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    send_raw(&shop, "facts", "k", "not an event").await;
    shop.producer().unwrap().send_all("facts", &[event("a", 3)]).await.unwrap();
    let counter = Counter::new().await;
    let _consumer = consume(&shop, &counter);
    let letters = DeadLetterBox::of(&shop, "worker");
    until_there_are(2, &letters).await;
    assert_eq!(letters.replay(|_| true).await.unwrap().len(), 2);
    let all = until_there_are(4, &letters).await;
    assert_eq!(all.iter().filter(|letter| letter.replayed_at.is_some()).count(), 2);
    for again in all.iter().filter(|letter| letter.replayed_at.is_none()) {
        let from = again.header("replayed-from").unwrap();
        let before = all.iter().find(|letter| from.ends_with(&format!("/{}", letter.id))).unwrap();
        assert_eq!((&again.key, &again.payload, &again.error), (&before.key, &before.payload, &before.error));
        assert_eq!(again.header("from"), before.header("from"), "a header that is none of ours");
    }
    assert!(counter.counted().await.is_empty());
}

#[tokio::test]
async fn of_many_who_replay_at_once_nobody_sends_what_another_has_sent() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    let counter = Counter::new().await;
    let sent: Vec<_> = (0..20).map(|_| event("a", 3)).collect();
    shop.producer().unwrap().send_all("facts", &sent).await.unwrap();
    let consumer = consume(&shop, &counter);
    let letters = DeadLetterBox::of(&shop, "worker");
    until_there_are(20, &letters).await;
    drop(consumer);

    // A replay that another one has overtaken is told so.
    let replays = (0..4).map(|_| letters.replay(|letter| letter.replayed_at.is_none()));
    let replays = futures::future::join_all(replays).await;
    assert!(replays.iter().any(Result::is_ok), "{replays:?}");
    assert!(letters.letters().await.unwrap().iter().all(|letter| letter.replayed_at.is_some()));
    shop.producer().unwrap().send_all("facts", &[event("a", 9)]).await.unwrap();
    let last = &raw_messages(&shop, "facts", 41).await[40];
    assert_eq!(last.payload.as_deref(), Some(&b"9"[..]), "twenty, twenty again, and this one");
    counter.mended.store(true, Ordering::Relaxed);
    let _consumer = consume(&shop, &counter);
    eventually("all are counted", async || counter.counted().await.len() == 21).await;
}
