//! Two replicas and one Lease.

use std::time::{Duration, Instant};

use rocketmart_operator::leader::{Election, Fence};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;

const LEASE: Duration = Duration::from_secs(3);

fn election(cluster: &Cluster, identity: &str) -> Election {
    Election::new(cluster.client.clone(), &cluster.namespace, "lease", identity, LEASE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over_at_once_and_the_fence_rises() {
    let cluster = Cluster::new("hand-over").await;
    let (first, second) = (Fence::default(), Fence::default());
    let leader = election(&cluster, "one").lead(|| ()).await;
    leader.raise(&first);
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(leader.keep(stop.clone()));

    let waiting = election(&cluster, "two");
    let waiting = tokio::spawn(async move { waiting.lead(|| ()).await });
    tokio::time::sleep(LEASE * 2).await;
    assert!(!waiting.is_finished(), "two leaders");

    let stopped = Instant::now();
    stop.cancel();
    assert!(keeping.await.unwrap(), "given back, not lost");
    let next = waiting.await.unwrap();
    assert!(stopped.elapsed() < LEASE, "handing over took {:?}", stopped.elapsed());
    next.raise(&second);
    assert!(first.token(999) < second.token(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_has_to_stop_before_it_has_seen_anything_stops() {
    let cluster = Cluster::new("stopped-early").await;
    for operator in [cluster.operator().await, cluster.sales_operator("http://nowhere", 1).await] {
        let stopped = tokio::time::timeout(Duration::from_secs(20), operator.stop()).await;
        assert!(stopped.is_ok(), "waits for a list that nobody asks for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_falls_silent_is_replaced_and_learns_that_it_was() {
    let cluster = Cluster::new("silent").await;
    let (first, second) = (Fence::default(), Fence::default());
    let frozen = election(&cluster, "one").lead(|| ()).await;
    frozen.raise(&first);
    // It does not renew, as if its process were stopped.
    let next = election(&cluster, "two").lead(|| ()).await;
    next.raise(&second);
    assert!(first.token(999) < second.token(0));
    let thawed = tokio::time::timeout(LEASE, frozen.keep(CancellationToken::new())).await.unwrap();
    assert!(!thawed, "believes that it leads still");
}
