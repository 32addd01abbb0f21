//! How far a group has come, where transactions have left their markers.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::{Consumer, FencedProducer, GroupProgress, Handler};
use tokio_util::sync::CancellationToken;

use crate::support::{Recorder, create_topic, event, events, eventually, shop};

/// Looks several times: what stays the same from one look to the next is read.
async fn at_rest(progress: &GroupProgress) -> i64 {
    let ends = progress.ends().await.unwrap();
    let mut behind = 0;
    for _ in 0..4 {
        behind = progress.behind(&ends).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    behind
}

/// Lets a worker read until it has `count` messages.
async fn read(shop: &KafkaConfig, count: usize) {
    let (worker, stop) = (Arc::new(Recorder::willing()), CancellationToken::new());
    let handler: Arc<dyn Handler> = worker.clone();
    let running = tokio::spawn(Consumer::new(shop, "worker", &["facts"]).run(handler, stop.clone()));
    eventually("the worker has read", async || worker.numbers().len() >= count).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// K4
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_transactions_is_nothing_to_wait_for_and_a_message_is() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    let progress = GroupProgress::new(&shop, "worker", &["facts"]).unwrap();
    shop.producer().unwrap().send_all("facts", &events("order", 0..3)).await.unwrap();
    assert_eq!(at_rest(&progress).await, 3, "nothing was read yet");
    read(&shop, 3).await;
    assert_eq!(at_rest(&progress).await, 0);

    let fenced = FencedProducer::take_over(&shop, "replay").await.unwrap();
    fenced.send_all("facts", &[event("order", 3)]).await.unwrap();
    // The marker is written soon after the transaction is acknowledged.
    assert!(at_rest(&progress).await >= 1, "a message, and its marker");
    read(&shop, 1).await;
    assert_eq!(at_rest(&progress).await, 0, "the marker is nothing");

    shop.producer().unwrap().send_all("facts", &events("order", 4..7)).await.unwrap();
    assert!(at_rest(&progress).await >= 3, "messages behind the marker");
    read(&shop, 3).await;
    assert_eq!(at_rest(&progress).await, 0);
}

/// A consumer that reads only committed messages sees nothing behind the beginning of an open transaction. We
/// must still notice that there are messages.
#[tokio::test(flavor = "multi_thread")]
async fn messages_behind_an_open_transaction_are_waited_for() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    shop.producer().unwrap().send_all("facts", &events("order", 0..1)).await.unwrap();
    read(&shop, 1).await;
    let progress = GroupProgress::new(&shop, "worker", &["facts"]).unwrap();
    assert_eq!(at_rest(&progress).await, 0);

    let topic = shop.topic("facts");
    let open: BaseProducer =
        shop.client("open").set("transactional.id", shop.topic("open")).create().unwrap();
    let open = tokio::task::spawn_blocking(move || {
        open.init_transactions(Duration::from_secs(20)).unwrap();
        open.begin_transaction().unwrap();
        open.send(BaseRecord::<str, str>::to(&topic).payload("not committed")).unwrap();
        open.flush(Duration::from_secs(20)).unwrap();
        open
    });
    let open = open.await.unwrap();
    shop.producer().unwrap().send_all("facts", &events("order", 1..4)).await.unwrap();
    assert_eq!(at_rest(&progress).await, 4, "one that may be committed yet, and three");
    drop(open);
}
