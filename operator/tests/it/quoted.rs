//! The Shop repeats what a component says it lacks: which of two shops on the same Redis or database owns
//! it (K11), and which setting of Redis could lose accepted data (S7).

use std::net::SocketAddr;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::{Patch, PatchParams, PostParams};
use rocketmart_crds::Shop;
use rocketmart_harness::ports;
use rocketmart_kit::{
    config::{DatabaseConfig, ListenConfig},
    service::Service,
};
use rocketmart_order::{GraceConfig, StockConfig, relay};
use serde_json::json;

use crate::{
    cluster::{Cluster, brokers, condition, shop},
    order_service::Backing,
};

fn waits_for(what: &str) -> impl Fn(&Shop) -> bool {
    move |shop| condition(shop, "Ready", "False").is_some_and(|why| why.contains(what))
}

/// Sets up a shop whose only pod is an order-relay with these stores, and waits until the shop says what
/// the relay says.
async fn shop_says(
    cluster: &Cluster,
    backing: &Backing,
    (database, stock): (DatabaseConfig, StockConfig),
    what: &str,
) {
    let admin = SocketAddr::from(([127, 0, 0, 1], ports::free_port().unwrap()));
    let listen = ListenConfig { listen: ([127, 0, 0, 1], 0).into(), admin_listen: admin };
    let (kafka, grace) = (backing.kafka.clone(), GraceConfig { payment_grace_seconds: 2 });
    let relay = relay::service(relay::Args { listen: listen.clone(), database, stock, kafka, grace });
    let operator = cluster.operator().await;
    let looks = async {
        cluster.apply_secrets().await;
        cluster.apply(shop(&brokers().await)).await.unwrap();
        cluster.shop_that("had a relay", waits_for("order-relay (0 of 1")).await;
        run_pod(cluster, admin.port()).await;
        cluster.shop_that("said why", waits_for(&format!("order-relay (0 of 1; {what}"))).await;
    };
    tokio::select! {
        ended = Service::start(&listen, relay) => panic!("the relay ended: {ended:?}"),
        () = looks => {}
    }
    operator.stop().await;
}

/// Plays the kubelet: the relay's pod runs, and is not ready.
async fn run_pod(cluster: &Cluster, port: u16) {
    let template =
        cluster.api::<Deployment>().get("rocket-order-relay").await.unwrap().spec.unwrap().template;
    let mut pod = Pod { spec: template.spec, ..Pod::default() };
    pod.metadata.name = Some("rocket-order-relay-1".to_owned());
    pod.metadata.labels = template.metadata.and_then(|metadata| metadata.labels);
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        for its in container.ports.iter_mut().flatten() {
            its.container_port = port.into();
        }
    }
    cluster.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
    let status = json!({ "status": {
        "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{ "ip": "127.0.0.1" }],
        "containerStatuses": [{
            "name": "order-relay", "image": "rocketmart", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "running": {} },
        }],
    } });
    let (pods, by_kubelet) = (cluster.api::<Pod>(), PatchParams::default());
    pods.patch_status("rocket-order-relay-1", &by_kubelet, &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn k11_a_shop_on_the_redis_of_another_one_says_whose_it_is() {
    let (cluster, backing) = tokio::join!(Cluster::new("one-redis"), Backing::start());
    let of_shop = |id: &str| StockConfig { shop_id: Some(id.to_owned()), ..backing.stock_config.clone() };
    of_shop("one-redis/first").connect().unwrap().ping().await.unwrap();
    let stores = (backing.database.clone(), of_shop("one-redis/rocket"));
    let why = "redis: the stock is not available: this Redis belongs to the shop one-redis/first, and this is \
               one-redis/rocket)";
    shop_says(&cluster, &backing, stores, why).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k11_a_shop_on_the_database_of_another_one_says_whose_it_is() {
    let (cluster, backing) = tokio::join!(Cluster::new("one-database"), Backing::start());
    let of_shop = |id: &str| DatabaseConfig { shop_id: Some(id.to_owned()), ..backing.database.clone() };
    of_shop("one-database/first").connect().await.unwrap();
    let stores = (of_shop("one-database/rocket"), backing.stock_config.clone());
    let options = backing.pool.connect_options();
    let place = format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap());
    let why = format!(
        "postgresql: {place}: this database belongs to the shop one-database/first, and this is one-database/rocket; \
         running: the process is starting)"
    );
    shop_says(&cluster, &backing, stores, &why).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_a_shop_on_a_redis_that_may_lose_what_it_accepted_says_which_setting_it_is() {
    let (cluster, backing) = tokio::join!(Cluster::new("unsafe-redis"), Backing::start());
    let client = redis::Client::open(backing.redis.url()).unwrap();
    let mut by_hand = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory-policy").arg("allkeys-lru");
    set.query_async::<()>(&mut by_hand).await.unwrap();
    let stores = (backing.database.clone(), backing.stock_config.clone());
    let why = "redis: Redis may lose what it accepts: `maxmemory-policy` is `allkeys-lru` and has to be `noeviction`";
    shop_says(&cluster, &backing, stores, why).await;
}
