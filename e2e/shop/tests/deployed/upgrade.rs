//! Row 21: the image of the whole shop is upgraded and taken back while a sale is open.

use std::time::{Duration, Instant};

use rocketmart_shop::{Kubectl, Shop};
use serde_json::{Value, json};

use crate::{TURN, declared, rush::Rush};

/// The same image by another name: the node already has it, and its pods are new pods.
const LIBRARY: &str = "docker.io/library/";
/// Enough for ten components one after another on busy processors.
const LIMIT: Duration = Duration::from_mins(4);

fn by_another_name(image: &str) -> String {
    image.strip_prefix(LIBRARY).map_or_else(|| format!("{LIBRARY}{image}"), str::to_owned)
}

fn deployments(kubectl: &Kubectl) -> Vec<Value> {
    let ours = ["get", "deployments", "--selector", "app.kubernetes.io/managed-by=rocketmart-operator"];
    let listed: Value =
        serde_json::from_str(&kubectl.run(&[&ours[..], &["--output=json"]].concat(), "")).unwrap();
    listed["items"].as_array().unwrap().clone()
}

fn image(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

/// Waits until all pods of every component run an image.
fn wait_for(kubectl: &Kubectl, wanted: &str) {
    let started = Instant::now();
    loop {
        let all = deployments(kubectl);
        let waiting: Vec<_> = all
            .iter()
            .filter(|it| image(it) != wanted || !is_rolled_out(it))
            .map(|it| &it["metadata"]["name"])
            .collect();
        if waiting.is_empty() {
            return;
        }
        assert!(started.elapsed() < LIMIT, "{LIMIT:?} later these do not run {wanted}: {waiting:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn is_rolled_out(deployment: &Value) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let all = |count: &str| {
        status[count].as_i64().unwrap_or_default() == spec["replicas"].as_i64().unwrap_or_default()
    };
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && all("replicas")
        && all("updatedReplicas")
        && all("availableReplicas")
}

/// A shop with another image; it gets the old one back, however the test ends.
struct Upgraded {
    kubectl: Kubectl,
    shop: String,
    before: String,
}

impl Upgraded {
    /// Returns once every component runs the other image.
    fn at_once(kubectl: Kubectl, shop: String) -> Self {
        let before = image(&deployments(&kubectl)[0]).to_owned();
        let upgraded = Self { kubectl, shop, before };
        let other = by_another_name(&upgraded.before);
        upgraded.declare(&json!(other));
        wait_for(&upgraded.kubectl, &other);
        upgraded
    }

    fn declare(&self, image: &Value) {
        self.kubectl.patch("shop", &self.shop, &json!({"spec": {"image": image}}));
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.declare(&Value::Null);
        if !std::thread::panicking() {
            wait_for(&self.kubectl, &self.before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_an_image_is_upgraded_and_taken_back_in_an_open_sale_and_no_purchase_is_lost() {
    let _turn = TURN.lock().await;
    let shop = Shop::open().await;
    let (kubectl, name) = declared(&shop);
    let rush = Rush::start(&shop).await;
    let upgrade = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let upgraded = Upgraded::at_once(kubectl, name);
        let there = started.elapsed();
        drop(upgraded);
        (there, started.elapsed().saturating_sub(there))
    });
    let (there, back) = upgrade.await.unwrap();
    println!("upgraded in {:.0} s, taken back in {:.0} s", there.as_secs_f64(), back.as_secs_f64());
    rush.end(&shop).await;
}
