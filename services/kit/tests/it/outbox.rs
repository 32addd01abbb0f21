use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rocketmart_harness::backing::Kafka;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::Consumer;
use rocketmart_kit::outbox::{Readers, inbox_filter, publish_loop, put};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Raw, Recorder, create_topic, database, event, events, eventually, raw_messages, raw_until, shop, shop_on,
};

/// Events still to be sent.
async fn depth(pool: &PgPool) -> i64 {
    let unsent = "SELECT count(*) FROM outbox WHERE position >= (SELECT before FROM outbox_sent)";
    sqlx::query_scalar(unsent).fetch_one(pool).await.unwrap()
}

/// Events in the table, sent or not.
async fn rows(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(pool).await.unwrap()
}

/// A publisher for these `readers` that runs until it is stopped.
fn publish(
    shop: &KafkaConfig,
    pool: &PgPool,
    readers: &'static [&'static str],
) -> (CancellationToken, JoinHandle<anyhow::Result<()>>) {
    let stop = CancellationToken::new();
    let readers = Readers::new(shop, "orders", readers);
    let task = tokio::spawn(publish_loop(pool.clone(), shop.producer().unwrap(), readers, stop.clone()));
    (stop, task)
}

async fn put_committed(pool: &PgPool, topic: &str, events: &[Event]) {
    let mut transaction = pool.begin().await.unwrap();
    put(&mut transaction, topic, events).await.unwrap();
    transaction.commit().await.unwrap();
}

fn numbers(messages: &[Raw]) -> Vec<u32> {
    let number = |message: &Raw| serde_json::from_slice(message.payload.as_deref().unwrap()).unwrap();
    messages.iter().map(number).collect()
}

#[tokio::test]
async fn committed_events_are_published_in_order_and_deleted() {
    let (shop, pool) = (shop().await, database().await);
    create_topic(&shop, "orders", 1).await;
    create_topic(&shop, "others", 1).await;
    let sent = events("a", 0..1500);
    put_committed(&pool, "orders", &sent).await;
    put_committed(&pool, "others", &events("b", 0..1)).await;
    let mut undone = pool.begin().await.unwrap();
    put(&mut undone, "orders", &events("a", 9000..9001)).await.unwrap();
    undone.rollback().await.unwrap();

    let (stop, task) = publish(&shop, &pool, &[]);
    eventually("all is sent", async || depth(&pool).await == 0).await;
    eventually("nobody reads it, so it is deleted", async || rows(&pool).await == 0).await;
    stop.cancel();
    task.await.unwrap().unwrap();

    let published = raw_messages(&shop, "orders", 1500).await;
    let ids: Vec<_> = published.iter().map(|message| message.header("ce_id")).collect();
    assert_eq!(ids, sent.iter().map(|event| event.id.as_str()).collect::<Vec<_>>());
    assert_eq!(raw_messages(&shop, "others", 1).await[0].payload.as_deref(), Some(&b"0"[..]));
}

#[tokio::test]
async fn a_tombstone_passes_through_the_outbox() {
    let (shop, pool) = (shop().await, database().await);
    create_topic(&shop, "products", 1).await;
    put_committed(&pool, "products", &[Event::tombstone("/rocketmart/catalog", "t", "p-1")]).await;
    let (stop, task) = publish(&shop, &pool, &[]);
    let message = &raw_messages(&shop, "products", 1).await[0];
    assert_eq!((message.key.as_deref(), &message.payload), (Some(&b"p-1"[..]), &None));
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn of_two_publishers_one_works_and_the_other_takes_over() {
    let (shop, pool) = (shop().await, database().await);
    create_topic(&shop, "orders", 1).await;
    let start = || publish(&shop, &pool, &[]);
    let first = start();
    put_committed(&pool, "orders", &events("a", 0..200)).await;
    // This makes sure that the first one works: of two that start together, either may.
    eventually("the first works", async || depth(&pool).await == 0).await;
    let second = start();
    put_committed(&pool, "orders", &events("a", 200..300)).await;
    eventually("the outbox is empty", async || depth(&pool).await == 0).await;
    first.0.cancel();
    first.1.await.unwrap().unwrap();
    put_committed(&pool, "orders", &events("a", 300..600)).await;
    eventually("the outbox is empty again", async || depth(&pool).await == 0).await;
    second.0.cancel();
    second.1.await.unwrap().unwrap();
    put_committed(&pool, "orders", &events("a", 600..601)).await;
    let (stop, task) = start();
    // Each begins with what may still be unread, and sends nothing while another one does.
    let each = [0..300, 0..600, 0..601].map(Vec::from_iter).concat();
    assert_eq!(numbers(&raw_messages(&shop, "orders", each.len()).await), each);
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_the_loss_of_the_broker_and_first_come_in_order() {
    let mut kafka = tokio::task::spawn_blocking(|| Kafka::start().unwrap()).await.unwrap();
    let (shop, pool) = (shop_on(kafka.brokers()), database().await);
    create_topic(&shop, "orders", 1).await;
    let sent = events("a", 0..3000);
    put_committed(&pool, "orders", &sent[..1000]).await;
    let (stop, task) = publish(&shop, &pool, &[]);
    eventually("some are published", async || depth(&pool).await == 0).await;

    // A big batch is under way when the broker dies, and more comes while it is dead.
    put_committed(&pool, "orders", &sent[1000..2000]).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    kafka.kill();
    put_committed(&pool, "orders", &sent[2000..]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(depth(&pool).await >= 1000);
    let kafka = tokio::task::spawn_blocking(move || {
        kafka.restart().unwrap();
        kafka
    });
    let _kafka = kafka.await.unwrap();
    eventually("the outbox is empty", async || depth(&pool).await == 0).await;
    stop.cancel();
    task.await.unwrap().unwrap();

    // The publisher starts over after a failure, so some events come more than once.
    let (mut seen, mut first_seen) = (HashSet::new(), Vec::new());
    raw_until(&shop, "orders", |messages| {
        if let Some(message) = messages.last() {
            let id = message.header("ce_id");
            if seen.insert(id.to_owned()) {
                first_seen.push(id.to_owned());
            }
        }
        first_seen.len() == sent.len()
    })
    .await;
    assert_eq!(first_seen, sent.iter().map(|event| event.id.clone()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brokers_lose_before_it_was_read_is_sent_again() {
    let mut kafka = tokio::task::spawn_blocking(|| Kafka::start().unwrap()).await.unwrap();
    let (shop, pool) = (shop_on(kafka.brokers()), database().await);
    create_topic(&shop, "orders", 2).await;
    put_committed(&pool, "orders", &events("a", 0..20)).await;
    let (stop, task) = publish(&shop, &pool, &["worker"]);
    eventually("all is sent", async || depth(&pool).await == 0).await;
    // Longer than we keep what was read.
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert_eq!(rows(&pool).await, 20, "nobody has read it");

    tokio::task::block_in_place(|| kafka.restart_empty().unwrap());
    create_topic(&shop, "orders", 2).await;
    let recorder = Arc::new(Recorder::willing());
    let consuming =
        tokio::spawn(Consumer::new(&shop, "worker", &["orders"]).run(recorder.clone(), stop.clone()));
    eventually("it is read", async || recorder.numbers() == (0..20).collect::<Vec<_>>()).await;
    eventually("what was read is deleted", async || rows(&pool).await == 0).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    consuming.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_event_that_becomes_visible_after_later_ones_is_sent_too() {
    let (shop, pool) = (shop().await, database().await);
    create_topic(&shop, "orders", 1).await;
    put_committed(&pool, "orders", &events("a", 0..1)).await;
    let mut soon = pool.begin().await.unwrap();
    put(&mut soon, "orders", &events("b", 1..2)).await.unwrap();
    let mut late = pool.begin().await.unwrap();
    put(&mut late, "orders", &events("c", 2..3)).await.unwrap();
    put_committed(&pool, "orders", &events("d", 3..4)).await;
    let (stop, task) = publish(&shop, &pool, &["nobody"]);
    assert_eq!(numbers(&raw_messages(&shop, "orders", 2).await), [0, 3]);
    soon.commit().await.unwrap();
    assert_eq!(numbers(&raw_messages(&shop, "orders", 3).await), [0, 3, 1]);
    assert!(depth(&pool).await > 0, "one may be under way");

    // Longer than we look for it, so only counting finds it.
    tokio::time::sleep(Duration::from_secs(12)).await;
    late.commit().await.unwrap();
    let all = raw_until(&shop, "orders", |messages| numbers(messages).contains(&2)).await;
    assert_eq!(numbers(&all)[..3], [0, 3, 1]);
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_very_first_events_are_waited_for_too_when_later_ones_are_visible_before_them() {
    let (shop, pool) = (shop().await, database().await);
    create_topic(&shop, "orders", 1).await;
    let mut first = pool.begin().await.unwrap();
    put(&mut first, "orders", &events("order", 0..1)).await.unwrap();
    put_committed(&pool, "orders", &events("another", 1..2)).await;
    let (stop, task) = publish(&shop, &pool, &["nobody"]);
    assert_eq!(numbers(&raw_messages(&shop, "orders", 1).await), [1]);
    // What follows from the first event is told after it, however late that was committed.
    first.commit().await.unwrap();
    put_committed(&pool, "orders", &events("order", 2..3)).await;
    assert_eq!(numbers(&raw_messages(&shop, "orders", 3).await), [1, 0, 2]);
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_finds_nothing_to_send_leaves_what_was_noted_as_sent() {
    let (shop, pool) = (shop().await, database().await);
    create_topic(&shop, "orders", 1).await;
    sqlx::query("UPDATE outbox_sent SET before = 100").execute(&pool).await.unwrap();
    let (stop, task) = publish(&shop, &pool, &["nobody"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    let before: i64 = sqlx::query_scalar("SELECT before FROM outbox_sent").fetch_one(&pool).await.unwrap();
    assert_eq!(before, 100);
}

#[tokio::test]
async fn the_inbox_finds_an_id_new_once() {
    let pool = database().await;
    let ids = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    let mut transaction = pool.begin().await.unwrap();
    let new = inbox_filter(&mut transaction, &[ids(0..3), ids(0..3)].concat()).await.unwrap();
    assert_eq!(new, ids(0..3).into_iter().collect());
    transaction.commit().await.unwrap();

    let mut undone = pool.begin().await.unwrap();
    assert_eq!(inbox_filter(&mut undone, &ids(2..5)).await.unwrap(), ids(3..5).into_iter().collect());
    undone.rollback().await.unwrap();

    let mut transaction = pool.begin().await.unwrap();
    assert_eq!(inbox_filter(&mut transaction, &ids(2..5)).await.unwrap(), ids(3..5).into_iter().collect());
}

#[tokio::test]
async fn of_two_transactions_with_the_same_id_one_finds_it_new() {
    let pool = database().await;
    let receive = || {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut transaction = pool.begin().await.unwrap();
            let ids: Vec<_> = (0..200).map(|n| n.to_string()).collect();
            let new = inbox_filter(&mut transaction, &ids).await.unwrap().len();
            transaction.commit().await.unwrap();
            new
        })
    };
    let (one, two) = (receive(), receive());
    assert_eq!(one.await.unwrap() + two.await.unwrap(), 200);
}

#[tokio::test]
async fn an_event_comes_out_of_the_outbox_as_it_went_in() {
    let (shop, pool) = (shop().await, database().await);
    create_topic(&shop, "orders", 1).await;
    let mut sent = event("order-9", 9);
    sent.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    put_committed(&pool, "orders", std::slice::from_ref(&sent)).await;
    let (stop, task) = publish(&shop, &pool, &[]);
    let message = &raw_messages(&shop, "orders", 1).await[0];
    assert_eq!(message.header("traceparent"), sent.traceparent.unwrap());
    assert_eq!(message.header("ce_id"), sent.id);
    assert_eq!(message.header("ce_type"), sent.event_type);
    assert_eq!(message.header("ce_source"), sent.source);
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn ids_and_answers_beyond_their_time_are_forgotten() {
    let (shop, pool) = (shop().await, database().await);
    for (statement, old) in [
        ("INSERT INTO inbox SELECT 'id-' || n, now() - make_interval(days => n) FROM generate_series(0, 60) n", "inbox"),
        (
            "INSERT INTO idempotency SELECT gen_random_uuid(), 'POST /x', 'k', '', 201, '[]', '', now() - make_interval(days => n)
             FROM generate_series(0, 60) n",
            "idempotency",
        ),
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap_or_else(|error| panic!("{old}: {error}"));
    }
    let (stop, task) = publish(&shop, &pool, &[]);
    let left = async || {
        sqlx::query_as::<_, (i64, i64)>(
            "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM idempotency)",
        )
        .fetch_one(&pool)
        .await
        .unwrap()
    };
    // Today and the days before it, up to the day that is just too old.
    eventually("the old ones are gone", async || left().await == (30, 7)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
}
