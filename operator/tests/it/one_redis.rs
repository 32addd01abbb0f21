//! Two shops on one Redis (K11): the one that came second does nothing there, and says whose it is.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::{Patch, PatchParams, PostParams};
use rocketmart_kit::config::ListenConfig;
use rocketmart_order::{GraceConfig, StockConfig, relay};
use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, brokers, condition, shop},
    order_service::Backing,
};

#[tokio::test(flavor = "multi_thread")]
async fn k11_a_shop_on_the_redis_of_another_one_says_whose_it_is() {
    let (cluster, backing) = tokio::join!(Cluster::new("one-redis"), Backing::start());
    let of_shop = |id: &str| StockConfig { shop_id: Some(id.to_owned()), ..backing.stock_config.clone() };
    of_shop("one-redis/first").connect().unwrap().ping().await.unwrap();
    let any_port =
        ListenConfig { listen: ([127, 0, 0, 1], 0).into(), admin_listen: ([127, 0, 0, 1], 0).into() };
    let relay = relay::service(relay::Args {
        listen: any_port,
        database: backing.database.clone(),
        stock: of_shop("one-redis/rocket"),
        kafka: backing.kafka.clone(),
        grace: GraceConfig { payment_grace_seconds: 2 },
    });
    let (relay, stop) = (relay.await.unwrap(), CancellationToken::new());
    let (bound, admin) = oneshot::channel();
    let running = tokio::spawn(relay.run_until(stop.clone(), |at| bound.send(at.admin).unwrap()));
    let admin = admin.await.unwrap();

    let operator = cluster.operator().await;
    cluster.apply_secrets().await;
    cluster.apply(shop(&brokers().await)).await.unwrap();
    let waits = |what: &'static str| {
        move |shop: &rocketmart_crds::Shop| {
            condition(shop, "Ready", "False").is_some_and(|why| why.contains(what))
        }
    };
    cluster.shop_that("had a relay", waits("order-relay (0 of 1)")).await;
    // The kubelet's part: the relay's pod runs, and is not ready.
    let template =
        cluster.api::<Deployment>().get("rocket-order-relay").await.unwrap().spec.unwrap().template;
    let mut pod = Pod { spec: template.spec, ..Pod::default() };
    pod.metadata.name = Some("rocket-order-relay-1".to_owned());
    pod.metadata.labels = template.metadata.and_then(|metadata| metadata.labels);
    for port in
        pod.spec.iter_mut().flat_map(|spec| &mut spec.containers).flat_map(|it| it.ports.iter_mut().flatten())
    {
        port.container_port = admin.port().into();
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

    let why = "order-relay (0 of 1; redis: the stock is not available: this Redis belongs to the shop \
               one-redis/first, and this is one-redis/rocket)";
    cluster.shop_that("said whose the Redis is", waits(why)).await;
    operator.stop().await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
