use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::{Consumer, HandleError, Handler, rewind};
use rocketmart_kit::trace::{self, TraceContext};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Recorder, create_topic, event, events, eventually, raw_messages, send_raw, shop};

/// A consumer that runs until it is stopped.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(shop: &KafkaConfig, handler: &Arc<impl Handler + 'static>) -> Self {
        let stop = CancellationToken::new();
        let consumer = Consumer::new(shop, "worker", &["facts"]).batch(100, Duration::from_millis(20));
        let handler: Arc<dyn Handler> = handler.clone();
        Self { task: tokio::spawn(consumer.run(handler, stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_event_arrives_as_it_was_sent() {
    let shop = shop().await;
    create_topic(&shop, "facts", 3).await;
    let sent = trace::scope(TraceContext::root(), async { event("order-1", 7) }).await;
    shop.producer().unwrap().send_all("facts", std::slice::from_ref(&sent)).await.unwrap();

    let recorder = Arc::new(Recorder::willing());
    let consumer = Running::start(&shop, &recorder);
    eventually("the event is handled", async || !recorder.deliveries().is_empty()).await;
    consumer.stop().await;
    let delivery = &recorder.deliveries()[0];
    assert_eq!(delivery.topic, "facts");
    assert_eq!(delivery.event, sent);

    let raw = &raw_messages(&shop, "facts", 1).await[0];
    assert_eq!(raw.header("ce_specversion"), "1.0");
    assert_eq!(raw.header("content-type"), "application/json");
    assert_eq!(raw.payload.as_deref(), Some(&b"7"[..]));
}

#[tokio::test]
async fn what_was_handled_is_committed_and_not_seen_again() {
    let shop = shop().await;
    create_topic(&shop, "facts", 3).await;
    let producer = shop.producer().unwrap();
    producer.send_all("facts", &events("a", 0..10)).await.unwrap();

    let first = Arc::new(Recorder::willing());
    let consumer = Running::start(&shop, &first);
    eventually("ten events are handled", async || first.numbers().len() == 10).await;
    consumer.stop().await;
    assert_eq!(first.numbers(), (0..10).collect::<Vec<_>>());

    producer.send_all("facts", &events("a", 10..12)).await.unwrap();
    let second = Arc::new(Recorder::willing());
    let consumer = Running::start(&shop, &second);
    eventually("the new events are handled", async || second.numbers().len() >= 2).await;
    consumer.stop().await;
    assert_eq!(second.numbers(), [10, 11]);
}

#[tokio::test]
async fn a_group_that_is_moved_back_reads_again_what_it_has_read() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    let producer = shop.producer().unwrap();
    producer.send_all("facts", &events("a", 0..10)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let later = time::OffsetDateTime::now_utc();
    producer.send_all("facts", &events("a", 10..12)).await.unwrap();
    let first = Arc::new(Recorder::willing());
    let consumer = Running::start(&shop, &first);
    eventually("all are handled", async || first.numbers().len() == 12).await;
    let refused = rewind(&shop, "worker", &["facts"], None).await.unwrap_err().to_string();
    assert!(refused.contains("1 members"), "{refused}");
    consumer.stop().await;

    for (to, from, numbers) in [(Some(later), 12, 10..12), (None, 12, 0..12)] {
        let rewound = rewind(&shop, "worker", &["facts", "unheard-of"], to).await.unwrap();
        assert_eq!((rewound.len(), rewound[0].from, rewound[0].end), (1, Some(from), 12));
        let again = Arc::new(Recorder::willing());
        let consumer = Running::start(&shop, &again);
        eventually("they are handled again", async || again.numbers().len() >= numbers.len()).await;
        consumer.stop().await;
        assert_eq!(again.numbers(), numbers.collect::<Vec<_>>());
    }
    let ahead = later + time::Duration::hours(1);
    let unmoved = rewind(&shop, "worker", &["facts"], Some(ahead)).await.unwrap();
    assert_eq!((unmoved[0].from, unmoved[0].to), (Some(12), 12), "never forward");
}

#[tokio::test]
async fn a_batch_that_was_not_handled_is_not_committed() {
    let shop = shop().await;
    create_topic(&shop, "facts", 3).await;
    shop.producer().unwrap().send_all("facts", &events("a", 0..10)).await.unwrap();

    let tried = Arc::new(AtomicBool::new(false));
    let saw = tried.clone();
    let failing = Arc::new(Recorder::new(move |_| {
        saw.store(true, Ordering::Relaxed);
        Some(HandleError::Retry(anyhow!("the database is away")))
    }));
    let consumer = Running::start(&shop, &failing);
    eventually("it was tried", async || tried.load(Ordering::Relaxed)).await;
    consumer.stop().await;

    let recorder = Arc::new(Recorder::willing());
    let consumer = Running::start(&shop, &recorder);
    eventually("all ten come again", async || recorder.numbers().len() == 10).await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_batch_is_tried_again_until_it_is_handled() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    shop.producer().unwrap().send_all("facts", &events("a", 0..5)).await.unwrap();

    let tries = std::sync::atomic::AtomicU32::new(0);
    let recorder = Arc::new(Recorder::new(move |_| {
        let away = tries.fetch_add(1, Ordering::Relaxed) < 3;
        away.then(|| HandleError::Retry(anyhow!("away")))
    }));
    let consumer = Running::start(&shop, &recorder);
    eventually("the batch is handled", async || !recorder.numbers().is_empty()).await;
    // Reading resumes after the pauses.
    shop.producer().unwrap().send_all("facts", &events("a", 5..8)).await.unwrap();
    eventually("later events are handled", async || recorder.numbers().len() >= 8).await;
    consumer.stop().await;
    assert_eq!(recorder.numbers(), (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn poison_is_parked_with_its_origin_and_the_rest_is_handled() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    let sent = events("a", 0..5);
    shop.producer().unwrap().send_all("facts", &sent).await.unwrap();

    let recorder = Arc::new(Recorder::new(|batch| {
        let index = batch.iter().position(|delivery| &*delivery.event.data == b"3")?;
        Some(HandleError::Poison { index, error: anyhow!("three is not a number we like") })
    }));
    let consumer = Running::start(&shop, &recorder);
    eventually("the others are handled", async || recorder.numbers().len() == 4).await;
    let parked = &raw_messages(&shop, "worker.dead-letters", 1).await[0];
    consumer.stop().await;

    assert_eq!(recorder.numbers(), [0, 1, 2, 4]);
    assert_eq!(parked.payload.as_deref(), Some(&b"3"[..]));
    assert_eq!(parked.key.as_deref(), Some(&b"a"[..]));
    assert_eq!(parked.header("ce_id"), sent[3].id);
    assert_eq!(parked.header("error"), "three is not a number we like");
    assert_eq!(parked.header("origin-topic"), shop.topic("facts"));
    assert_eq!(parked.header("origin-partition"), "0");
    assert_eq!(parked.header("origin-offset"), "3");
}

#[tokio::test]
async fn a_message_that_is_no_event_is_parked_as_it_came() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    send_raw(&shop, "facts", "k", "not an event").await;
    shop.producer().unwrap().send_all("facts", &events("a", 0..1)).await.unwrap();

    let recorder = Arc::new(Recorder::willing());
    let consumer = Running::start(&shop, &recorder);
    eventually("the event is handled", async || recorder.numbers() == [0]).await;
    let parked = &raw_messages(&shop, "worker.dead-letters", 1).await[0];
    consumer.stop().await;
    assert_eq!(parked.payload.as_deref(), Some(&b"not an event"[..]));
    assert_eq!(parked.header("from"), "elsewhere");
    assert_eq!(parked.header("error"), "header ce_specversion is missing");
}

#[tokio::test]
async fn a_consumer_that_cannot_handle_gives_partitions_to_one_that_can() {
    let shop = shop().await;
    create_topic(&shop, "facts", 4).await;
    let keys: Vec<_> = (0..40).map(|n| event(&format!("key-{n}"), n)).collect();
    shop.producer().unwrap().send_all("facts", &keys).await.unwrap();

    let healthy = Arc::new(AtomicBool::new(false));
    let watch = healthy.clone();
    let stuck = Arc::new(Recorder::new(move |_| {
        let away = !watch.load(Ordering::Relaxed);
        away.then(|| HandleError::Retry(anyhow!("its network is broken")))
    }));
    let first = Running::start(&shop, &stuck);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let recorder = Arc::new(Recorder::willing());
    let second = Running::start(&shop, &recorder);
    eventually("the second has taken some over", async || !recorder.numbers().is_empty()).await;
    healthy.store(true, Ordering::Relaxed);
    eventually("everything is handled", async || {
        let all: HashSet<_> = stuck.numbers().into_iter().chain(recorder.numbers()).collect();
        all.len() == 40
    })
    .await;
    // The first forgot what it had read from the partitions that it lost.
    let both: HashSet<_> = stuck.numbers().into_iter().collect();
    assert!(recorder.numbers().iter().all(|n| !both.contains(n)), "handled by both");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn the_gate_opens_once_the_group_is_joined() {
    let shop = shop().await;
    create_topic(&shop, "facts", 1).await;
    let consumer = Consumer::new(&shop, "worker", &["facts"]);
    let gate = consumer.gate();
    assert!(gate().await.is_err());
    let stop = CancellationToken::new();
    let task = tokio::spawn(consumer.run(Arc::new(Recorder::willing()), stop.clone()));
    eventually("the gate opens", async || gate().await.is_ok()).await;
    stop.cancel();
    task.await.unwrap().unwrap();
}
