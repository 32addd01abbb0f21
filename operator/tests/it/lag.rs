//! A consumer group as the autoscaler sees it, on a real Kafka.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use rocketmart_kit::{config::KafkaConfig, event::Event, kafka::FencedProducer};
use rocketmart_operator::{
    autoscaler::lag::{Observer, Partition},
    kafka::{Access, Cluster, Topic},
};
use uuid::Uuid;

use crate::{cluster::brokers, order_service::eventually};

async fn topic(brokers: &str, partitions: i32) -> String {
    let name = format!("lag-{}", Uuid::now_v7().simple());
    let topic =
        Topic { name: name.clone(), partitions, replication_factor: 1, compacted: false, retention_ms: None };
    let cluster = Cluster::connect(&Access::open(brokers)).unwrap();
    cluster.ensure(&[topic], &cluster.topics(&name).await.unwrap()).await.unwrap();
    name
}

async fn send(brokers: &str, topic: &str, partition: i32, messages: usize) {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    for _ in 0..messages {
        let record = FutureRecord::<(), _>::to(topic).partition(partition).payload("message");
        producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
}

fn commit(brokers: &str, group: &str, topic: &str, partition: i32, offset: i64) {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
}

async fn look(observer: &Observer) -> Vec<Partition> {
    let observer = observer.clone();
    let mut seen = tokio::task::spawn_blocking(move || observer.look()).await.unwrap().unwrap();
    seen.sort_by(|a, b| (&a.topic, a.number).cmp(&(&b.topic, b.number)));
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_seen_with_all_its_partitions_and_a_deleted_one_as_if_it_had_never_committed() {
    let brokers = brokers().await;
    let (busy, empty) = (topic(&brokers, 3).await, topic(&brokers, 1).await);
    let group = format!("group-{}", Uuid::now_v7().simple());
    send(&brokers, &busy, 0, 5).await;
    send(&brokers, &busy, 2, 2).await;
    commit(&brokers, &group, &busy, 0, 3);
    commit(&brokers, &group, &busy, 1, 0);

    let topics = vec![busy.clone(), empty.clone()];
    let observer = Observer::new(&Access::open(&brokers), &group, topics).unwrap();
    // A broker learns about new topics a moment after the controller created them.
    eventually("both topics are seen", async || look(&observer).await.len() == 4).await;
    let of = |topic: &str, number, committed, high| Partition {
        topic: topic.to_owned(),
        number,
        committed,
        low: 0,
        high,
        only_markers: false,
    };
    let mut expected = vec![
        of(&busy, 0, Some(3), 5),
        of(&busy, 1, Some(0), 0),
        of(&busy, 2, None, 2),
        of(&empty, 0, None, 0),
    ];
    assert_eq!(look(&observer).await, expected);

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    for deleted in admin.delete_groups(&[&group], &AdminOptions::new()).await.unwrap() {
        deleted.unwrap();
    }
    for partition in &mut expected {
        partition.committed = None;
    }
    eventually("the group is gone", async || look(&observer).await == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_yet_has_no_partitions_and_is_no_failure() {
    let observer =
        Observer::new(&Access::open(&brokers().await), "nobody", vec!["lag-of-nothing".to_owned()]).unwrap();
    assert!(look(&observer).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn k4_what_transactions_leave_behind_is_no_lag_and_a_message_behind_it_is() {
    let brokers = brokers().await;
    let topic = topic(&brokers, 2).await;
    let group = format!("group-{}", Uuid::now_v7().simple());
    let kafka = KafkaConfig::open(brokers.clone(), "");
    let producer =
        FencedProducer::take_over(&kafka, &format!("writer-{}", Uuid::now_v7().simple())).await.unwrap();
    let events: Vec<_> =
        (0..20).map(|number| Event::new("/rocketmart/test", "test", number, &number)).collect();
    producer.send_all(&topic, &events).await.unwrap();
    let observer = Observer::new(&Access::open(&brokers), &group, vec![topic.clone()]).unwrap();
    let lag = async || look(&observer).await.iter().map(Partition::lag).collect::<Vec<_>>();
    eventually("all of them are there", async || lag().await.iter().sum::<i64>() == 22).await;

    // The group handled each message, up to the marker and not past it.
    let ends: Vec<_> = look(&observer).await.iter().map(|partition| partition.high).collect();
    for (number, end) in (0..).zip(&ends) {
        commit(&brokers, &group, &topic, number, end - 1);
    }
    eventually("nothing is left", async || lag().await == [0, 0]).await;
    send(&brokers, &topic, 1, 1).await;
    eventually("a message is", async || lag().await == [0, 2]).await;
    commit(&brokers, &group, &topic, 1, ends[1] + 1);
    assert_eq!(lag().await, [0, 0]);
}
