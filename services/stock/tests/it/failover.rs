//! A replica becomes the master. We find it, do not believe it before the sale was rebuilt, and count nothing
//! as made that it may not have.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use rocketmart_harness::backing::{Redis, RedisGroup};
use rocketmart_stock::{
    LoadOutcome, ReserveOutcome, Restore, RestoreOutcome, SaleState, SentinelGroup, Server, SetStateOutcome,
    Stock, StockError, StreamPosition, VouchOutcome,
};

use crate::support::{TEA, a_buyer, expect_reserved, item, now_ms, spec, wish};

/// A client that finds the master through Sentinels, one of which is not there.
fn client(group: &RedisGroup, min_replicas: usize) -> Stock {
    let mut sentinels = group.sentinels();
    sentinels.insert(0, "127.0.0.1:9".to_owned());
    let server = SentinelGroup {
        sentinels,
        master: group.name().to_owned(),
        username: None,
        password: None,
        sentinel_password: None,
        tls: None,
        min_replicas,
    };
    Stock::connect_to(&Server::Sentinel(server)).unwrap()
}

/// Waits longer than usual for answers: a replica that has just come up acknowledges once a second.
async fn connection(redis: &Redis) -> MultiplexedConnection {
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}

async fn promote(redis: &Redis) {
    let mut command = redis::cmd("REPLICAOF");
    let _: () = command.arg("NO").arg("ONE").query_async(&mut connection(redis).await).await.unwrap();
}

/// An open sale of ten teas.
async fn open_sale(stock: &Stock) -> rocketmart_stock::SaleSpec {
    let spec = spec(vec![item(TEA, 10, None)]);
    assert_eq!(stock.load(&spec).await, Ok(LoadOutcome::Loaded));
    assert_eq!(stock.set_state(spec.id, spec.fence, SaleState::Ready).await, Ok(SetStateOutcome::Set));
    spec
}

async fn until_it_answers(stock: &Stock) {
    while stock.session().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_master_is_found_has_what_was_answered_and_sells_after_a_rebuild() {
    let mut group = RedisGroup::start(2, 1).unwrap();
    let stock = client(&group, 1);
    let spec = open_sale(&stock).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let wish = wish(spec.id, a_buyer(), "key", &[(TEA, 1)]);
        made.push(expect_reserved(stock.reserve(spec.id, &[wish]).await.unwrap().remove(0)));
    }
    group.servers[0].kill();
    group.wait_for_another_master(0).unwrap();
    until_it_answers(&stock).await;
    for reservation in &made {
        assert_eq!(stock.get(spec.id, reservation.order).await, Ok(Some(reservation.clone())), "is lost");
    }

    let again = wish(spec.id, a_buyer(), "key", &[(TEA, 1)]);
    let decided = stock.reserve(spec.id, std::slice::from_ref(&again)).await.unwrap().remove(0);
    assert_eq!(decided, ReserveOutcome::Suspended);
    let behind = stock.vouch(spec.id, 0, StreamPosition::default()).await;
    assert!(matches!(&behind, Ok(VouchOutcome::Behind(_))), "{behind:?}");
    let reservations = made
        .into_iter()
        .map(|reservation| rocketmart_stock::Remembered { reservation, wish: None })
        .collect();
    let restore = Restore {
        spec: spec.clone(),
        state: SaleState::Ready,
        incarnation: 1,
        stream_from_ms: now_ms() + 60_000,
        reservations,
    };
    assert_eq!(stock.restore(&restore).await, Ok(RestoreOutcome::Restored));
    assert_eq!(stock.vouch(spec.id, 1, StreamPosition::default()).await, Ok(VouchOutcome::Vouched));
    expect_reserved(stock.reserve(spec.id, &[again]).await.unwrap().remove(0));
    let tea = &stock.counters(spec.id).await.unwrap().unwrap().items[0];
    assert_eq!((tea.remaining, tea.reserved, tea.sold), (6, 4, 0));
}

#[tokio::test]
async fn a_replica_made_the_master_is_not_vouched_for_even_when_nothing_seems_to_be_missing() {
    let group = RedisGroup::start(1, 0).unwrap();
    let [master, replica] = &group.servers[..] else { panic!() };
    let stock = Stock::connect(&master.url()).unwrap();
    let spec = open_sale(&stock).await;
    // WAIT counts what its own connection has written: on a new one that has done nothing, it waits for
    // nothing.
    let mut written = redis::pipe();
    written.cmd("SET").arg("written").arg("after the sale").ignore().cmd("WAIT").arg(1).arg(5_000);
    let written: (i32,) = written.query_async(&mut connection(master).await).await.unwrap();
    assert_eq!(written, (1,));
    promote(replica).await;
    // Only the old master has sold this and told the buyer.
    let lost = wish(spec.id, a_buyer(), "key", &[(TEA, 1)]);
    let lost = expect_reserved(stock.reserve(spec.id, &[lost]).await.unwrap().remove(0));

    let stock = Stock::connect(&replica.url()).unwrap();
    assert_eq!(stock.get(spec.id, lost.order).await, Ok(None));
    let behind = stock.vouch(spec.id, 0, StreamPosition::default()).await;
    assert!(matches!(&behind, Ok(VouchOutcome::Behind(_))), "{behind:?}");
    let restore = Restore {
        spec: spec.clone(),
        state: SaleState::Ready,
        incarnation: 1,
        stream_from_ms: now_ms(),
        reservations: vec![rocketmart_stock::Remembered { reservation: lost, wish: None }],
    };
    assert_eq!(stock.restore(&restore).await, Ok(RestoreOutcome::Restored));
    assert_eq!(stock.vouch(spec.id, 1, StreamPosition::default()).await, Ok(VouchOutcome::Vouched));
    // Once is enough: if we look again for other reasons, we need not rebuild again.
    let _: () =
        redis::cmd("FUNCTION").arg("FLUSH").query_async(&mut connection(replica).await).await.unwrap();
    assert_eq!(stock.vouch(spec.id, 1, StreamPosition::default()).await, Ok(VouchOutcome::Vouched));
}

#[tokio::test]
async fn what_no_replica_has_written_is_unknown_and_so_is_its_repetition() {
    let group = RedisGroup::start(1, 1).unwrap();
    let stock = client(&group, 1);
    let spec = open_sale(&stock).await;
    let wish = wish(spec.id, a_buyer(), "key", &[(TEA, 1)]);
    let replica = &group.servers[1];
    replica.signal("STOP").unwrap();
    // The second time over a connection that has written nothing itself.
    for _ in 0..2 {
        let outcome = stock.reserve(spec.id, std::slice::from_ref(&wish)).await;
        assert!(matches!(&outcome, Err(StockError::Unknown(_))), "{outcome:?}");
    }
    replica.signal("CONT").unwrap();
    let outcome = stock.reserve(spec.id, std::slice::from_ref(&wish)).await.unwrap().remove(0);
    assert!(matches!(&outcome, ReserveOutcome::Duplicate(_)), "{outcome:?}");
    let tea = &stock.counters(spec.id).await.unwrap().unwrap().items[0];
    assert_eq!((tea.remaining, tea.reserved, tea.sold), (9, 1, 0));
}
