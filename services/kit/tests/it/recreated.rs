//! A topic that is deleted and recreated, which librdkafka does not survive by itself.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rocketmart_harness::backing::Kafka;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::{Consumer, Delivery, HandleError, TopicMark, read_all_then_follow};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Recorder, create_topic, events, eventually, shop, shop_on};

type Willing = Recorder<fn(&[Delivery]) -> Option<HandleError>>;

/// Both ways of reading the topic `facts`.
struct Readers {
    worker: Arc<Willing>,
    follower: Arc<Willing>,
    stop: CancellationToken,
    tasks: [JoinHandle<anyhow::Result<()>>; 2],
}

impl Readers {
    fn start(shop: &KafkaConfig) -> Self {
        let (worker, follower) = (Arc::new(Recorder::willing()), Arc::new(Recorder::willing()));
        let stop = CancellationToken::new();
        let consumer = Consumer::new(shop, "worker", &["facts"]).batch(100, Duration::from_millis(20));
        let consuming = tokio::spawn(consumer.run(worker.clone(), stop.clone()));
        let following = tokio::spawn({
            let (shop, follower, stop) = (shop.clone(), follower.clone(), stop.clone());
            async move { read_all_then_follow(&shop, "reader", "facts", follower, || {}, stop).await }
        });
        Self { worker, follower, stop, tasks: [consuming, following] }
    }

    /// Waits until both have received all of `numbers`.
    async fn have(&self, numbers: std::ops::Range<u32>) {
        for (who, recorder) in [("the worker", &self.worker), ("the follower", &self.follower)] {
            eventually(&format!("{who} has {numbers:?}"), async || {
                let seen = recorder.numbers();
                numbers.clone().all(|number| seen.contains(&number))
            })
            .await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap().unwrap();
        }
    }
}

/// Sends with a producer of its own, which does not know the old topic.
async fn send(shop: &KafkaConfig, numbers: std::ops::Range<u32>) {
    shop.producer().unwrap().send_all("facts", &events("a", numbers)).await.unwrap();
}

async fn make_again(shop: &KafkaConfig) {
    let admin: AdminClient<DefaultClientContext> = shop.client("test").create().unwrap();
    for deleted in admin.delete_topics(&[&shop.topic("facts")], &AdminOptions::new()).await.unwrap() {
        deleted.unwrap();
    }
    create_topic(shop, "facts", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_come_back_empty_after_they_were_restarted_are_read_from_on() {
    let mut kafka = tokio::task::spawn_blocking(|| Kafka::start().unwrap()).await.unwrap();
    let shop = shop_on(kafka.brokers());
    create_topic(&shop, "facts", 3).await;
    send(&shop, 0..10).await;
    let readers = Readers::start(&shop);
    readers.have(0..10).await;

    // The leader epoch of each partition grows, and the readers learn about it.
    tokio::task::block_in_place(|| kafka.restart().unwrap());
    send(&shop, 10..20).await;
    readers.have(10..20).await;

    tokio::task::block_in_place(|| kafka.restart_empty().unwrap());
    create_topic(&shop, "facts", 3).await;
    send(&shop, 20..25).await;
    readers.have(20..25).await;
    readers.stop().await;
}

#[tokio::test]
async fn a_topic_made_again_is_read_from_its_beginning_even_if_it_is_longer_than_the_old_one() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    send(&shop, 0..10).await;
    let readers = Readers::start(&shop);
    readers.have(0..10).await;

    make_again(&shop).await;
    send(&shop, 10..40).await;
    readers.have(10..40).await;
    readers.stop().await;
}

#[tokio::test]
async fn a_mark_is_lost_with_its_topic_and_outlives_whoever_set_it() {
    let shop = shop().await;
    let missing = async || TopicMark::new(&shop, "mark", "facts").unwrap().is_missing().await.unwrap();
    assert!(!missing().await, "there is nothing to be marked");
    create_topic(&shop, "facts", 1).await;
    send(&shop, 0..10).await;
    assert!(missing().await);
    TopicMark::new(&shop, "mark", "facts").unwrap().set().await.unwrap();
    assert!(!missing().await);
    assert!(TopicMark::new(&shop, "another", "facts").unwrap().is_missing().await.unwrap());

    make_again(&shop).await;
    eventually("the mark is gone", missing).await;
}
