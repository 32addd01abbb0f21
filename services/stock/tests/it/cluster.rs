//! Sales on the masters of a cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmart_harness::backing::RedisCluster;
use rocketmart_stock::{
    ClusterNodes, ConfirmOutcome, LoadOutcome, PurgeOutcome, Reserve, ReserveOutcome, SaleId, SaleSpec,
    SaleState, Server, SetStateOutcome, Stock, StockError, StreamPosition, VouchOutcome,
};

use crate::support::{TEA, a_buyer, expect_reserved, item, spec, wish};

fn nodes(cluster: &RedisCluster, min_replicas: usize) -> ClusterNodes {
    // One that is not there, and one that knows the others.
    let addresses = vec!["127.0.0.1:9".to_owned(), cluster.addresses().pop().unwrap()];
    ClusterNodes { addresses, username: None, password: None, tls: None, min_replicas }
}

fn client(cluster: &RedisCluster, min_replicas: usize) -> Stock {
    Stock::connect_to(&Server::Cluster(nodes(cluster, min_replicas))).unwrap()
}

/// An open sale of ten teas.
async fn open_sale(stock: &Stock) -> SaleSpec {
    let spec = spec(vec![item(TEA, 10, None)]);
    assert_eq!(stock.load(&spec).await, Ok(LoadOutcome::Loaded));
    assert_eq!(stock.set_state(spec.id, spec.fence, SaleState::Ready).await, Ok(SetStateOutcome::Set));
    spec
}

fn key_of(sale: SaleId) -> String {
    format!("rm:{{{sale}}}:sale")
}

fn master_of(cluster: &RedisCluster, sale: SaleId) -> usize {
    cluster.master_of(&key_of(sale), 0).unwrap().unwrap()
}

fn wish_of(sale: &SaleSpec) -> Reserve {
    wish(sale.id, a_buyer(), "key", &[(TEA, 1)])
}

#[tokio::test]
async fn sales_live_on_all_masters_and_each_from_its_load_to_its_end() {
    let cluster = RedisCluster::start(0).unwrap();
    // A user who may do no more than necessary.
    let rules = [">secret", "~rm:*", "+@all", "-@admin", "-@dangerous"];
    cluster.admit("shop", &[&rules[..], &["+info", "+cluster|nodes", "+cluster|slots"]].concat()).unwrap();
    let nodes = ClusterNodes {
        username: Some("shop".to_owned()),
        password: Some("secret".to_owned()),
        ..nodes(&cluster, 0)
    };
    let stock = Stock::connect_to(&Server::Cluster(nodes)).unwrap();
    let mut sales = Vec::new();
    for _ in 0..12 {
        sales.push(open_sale(&stock).await);
    }
    let masters: BTreeSet<_> = sales.iter().map(|sale| master_of(&cluster, sale.id)).collect();
    assert!(masters.len() > 1, "{masters:?}");
    for sale in &sales {
        let reserved = expect_reserved(stock.reserve(sale.id, &[wish_of(sale)]).await.unwrap().remove(0));
        assert_eq!(stock.get(sale.id, reserved.order).await, Ok(Some(reserved.clone())));
        assert_eq!(stock.confirm(sale.id, &[reserved.order]).await, Ok(vec![ConfirmOutcome::Confirmed]));
        let events = stock.read_events(sale.id, "0", 10, Duration::from_secs(1)).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(stock.trim(sale.id, &events[0].id).await, Ok(1));
        let tea = &stock.counters(sale.id).await.unwrap().unwrap().items[0];
        assert_eq!((tea.remaining, tea.reserved, tea.sold), (9, 0, 1));
    }
    let listed: BTreeSet<_> = stock.sales().await.unwrap().into_iter().collect();
    assert_eq!(listed, sales.iter().map(|sale| sale.id).collect());
    for sale in &sales {
        stock.set_state(sale.id, sale.fence, SaleState::Closed).await.unwrap();
        assert_eq!(stock.purge(sale.id, sale.fence).await, Ok(PurgeOutcome::Purged));
    }
    assert_eq!(stock.sales().await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_is_replaced_and_the_other_sales_go_on() {
    let mut cluster = RedisCluster::start(1).unwrap();
    let stock = client(&cluster, 1);
    let (first, mut other) = (open_sale(&stock).await, open_sale(&stock).await);
    while master_of(&cluster, other.id) == master_of(&cluster, first.id) {
        other = open_sale(&stock).await;
    }
    let (lost, session) = (master_of(&cluster, first.id), stock.session().await.unwrap());
    let made = expect_reserved(stock.reserve(first.id, &[wish_of(&first)]).await.unwrap().remove(0));
    cluster.nodes[lost].kill();
    expect_reserved(stock.reserve(other.id, &[wish_of(&other)]).await.unwrap().remove(0));
    cluster.wait_for_another_master_of(&key_of(first.id), lost).unwrap();
    while stock.counters(first.id).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(stock.session().await.unwrap(), session, "there is something to look at");
    assert_eq!(stock.get(first.id, made.order).await, Ok(Some(made)), "what was answered is there");
    // It has no replica left, so it cannot promise anything.
    let wish = wish_of(&first);
    let alone = stock.reserve(first.id, std::slice::from_ref(&wish)).await;
    assert!(matches!(&alone, Err(StockError::Unknown(_))), "{alone:?}");
    // Nor do we believe it before the sale was rebuilt.
    let bold = client(&cluster, 0);
    let decided = bold.reserve(first.id, &[wish]).await.unwrap().remove(0);
    assert_eq!(decided, ReserveOutcome::Suspended);
    let behind = bold.vouch(first.id, 0, StreamPosition::default()).await;
    assert!(matches!(&behind, Ok(VouchOutcome::Behind(_))), "{behind:?}");
    expect_reserved(stock.reserve(other.id, &[wish_of(&other)]).await.unwrap().remove(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_whose_slot_is_moved_is_refused_meanwhile_and_goes_on_where_it_has_moved_to() {
    let cluster = RedisCluster::start(0).unwrap();
    let stock = client(&cluster, 0);
    let sale = open_sale(&stock).await;
    expect_reserved(stock.reserve(sale.id, &[wish_of(&sale)]).await.unwrap().remove(0));
    let from = master_of(&cluster, sale.id);
    let (key, to) = (key_of(sale.id), (from + 1) % cluster.nodes.len());

    cluster.begin_to_move(&key, from, to).unwrap();
    let wish = wish_of(&sale);
    let meanwhile = stock.reserve(sale.id, std::slice::from_ref(&wish)).await;
    assert!(matches!(&meanwhile, Err(StockError::Unavailable(_))), "{meanwhile:?}");
    cluster.finish_moving(&key, from, to).unwrap();

    let mut found = stock.reserve(sale.id, std::slice::from_ref(&wish)).await;
    while matches!(&found, Err(StockError::Unavailable(_))) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = stock.reserve(sale.id, std::slice::from_ref(&wish)).await;
    }
    assert_eq!(
        found,
        Ok(vec![ReserveOutcome::Suspended]),
        "nobody has looked yet whether all of it is there"
    );
    let left = stock.counters(sale.id).await.unwrap().unwrap().last_event_id.parse().unwrap();
    assert_eq!(stock.vouch(sale.id, 0, left).await, Ok(VouchOutcome::Vouched));
    expect_reserved(stock.reserve(sale.id, &[wish]).await.unwrap().remove(0));
    let tea = &stock.counters(sale.id).await.unwrap().unwrap().items[0];
    assert_eq!((tea.remaining, tea.reserved), (8, 2));
}
