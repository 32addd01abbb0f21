//! The log of an operator process: each line about an object names the object.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use rocketmart_crds::Phase;
use serde_json::{Value, json};

use crate::{
    cluster::{brokers, server, shop},
    market::{Market, launch},
    order_service::eventually,
    process::OperatorProcess,
};

/// The modules that log during a reconcile, or during a look of the autoscaler.
const ABOUT_OBJECTS: [&str; 3] =
    ["rocketmart_operator::controllers", "rocketmart_operator::context", "rocketmart_operator::autoscaler"];

#[tokio::test(flavor = "multi_thread")]
async fn every_line_about_an_object_names_its_kind_its_namespace_and_its_name() {
    let market = Market::open("logged").await;
    market.cluster.apply_secrets().await;
    market.cluster.apply(shop(&brokers().await)).await.unwrap();
    let settings = [
        ("WATCH_NAMESPACE", "logged"),
        ("ORDER_URL", market.service.api.as_str()),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "info"),
    ];
    let operator = OperatorProcess::start(&server().kubeconfig(), "logged", "one", &settings);
    market.apply(&launch(3, 600, 5)).await.unwrap();
    market.until(Phase::Open).await;
    let deployments = market.cluster.api::<Deployment>();
    eventually("its worker is there", async || {
        deployments.get_opt("rocket-order-worker").await.unwrap().is_some()
    })
    .await;
    // The autoscaler has something to say as well. We ask for something that concerns it alone: the Shop's
    // controller might be the first to follow a larger minimum.
    let asked =
        json!({ "metadata": { "annotations": { "autoscaling.rocketmart.dev/paused-replicas": "3" } } });
    deployments.patch("rocket-order-worker", &PatchParams::default(), &Patch::Merge(&asked)).await.unwrap();
    let lines = || -> Vec<Value> {
        let text = operator.log();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    };
    let says = |line: &Value, message: &str| line["fields"]["message"] == message;
    let (sale, shop) =
        ("FlashSale.v1alpha1.rocketmart.dev/launch.logged", "Shop.v1alpha1.rocketmart.dev/rocket.logged");
    for (message, object) in
        [("phase", sale), ("command", sale), ("applying", shop), ("status", shop), ("scaled", shop)]
    {
        let said =
            async || lines().iter().any(|line| says(line, message) && line["span"]["object.ref"] == object);
        eventually(&format!("somebody says `{message}` of {object}"), said).await;
    }

    let lines = lines();
    let about_an_object = lines.iter().filter(|line| {
        let target = line["target"].as_str().unwrap();
        ABOUT_OBJECTS.iter().any(|module| target.starts_with(module))
            && !says(line, "a watch was interrupted")
    });
    for line in about_an_object {
        let object = &line["span"]["object.ref"];
        assert!(object == sale || object == shop, "{line}");
    }
    operator.signal("TERM");
    assert!(operator.ends_well().await);
}
