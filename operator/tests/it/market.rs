//! A shop that is open for sales: its objects in the API server, and a running order service.

use k8s_openapi::api::events::v1::Event;
use kube::{ResourceExt, api::ListParams};
use rocketmart_crds::{FlashSale, Phase};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cluster::{Cluster, shop},
    operators::Operator,
    order_service::{self, MUG, OPERATOR_TOKEN, PRICE, from_now},
};

pub struct Market {
    pub cluster: Cluster,
    /// API, relay and worker; the standing stock has a hundred mugs.
    pub service: order_service::Shop,
}

impl Market {
    pub async fn open(namespace: &str) -> Self {
        Self::around(order_service::Shop::open(), namespace).await
    }

    /// Builds a market around an order service of the test's choice.
    pub async fn around(service: impl Future<Output = order_service::Shop>, namespace: &str) -> Self {
        let (cluster, service) = tokio::join!(Cluster::new(namespace), service);
        cluster.apply(shop("nowhere:9092")).await.unwrap();
        apply_token(&cluster).await;
        Self { cluster, service }
    }

    pub async fn operator(&self, term: i64) -> Operator {
        self.cluster.sales_operator(&self.service.api, term).await
    }

    pub async fn apply(&self, sale: &Value) -> kube::Result<()> {
        self.cluster.apply(sale.clone()).await
    }

    pub async fn until(&self, phase: Phase) -> FlashSale {
        let what = format!("was {phase}");
        self.cluster.sale_that("launch", &what, |sale| self::phase(sale) == Some(phase)).await
    }

    pub async fn get(&self) -> FlashSale {
        self.cluster.api::<FlashSale>().get("launch").await.unwrap()
    }

    /// The id by which the order service knows the sale.
    pub async fn id(&self) -> Uuid {
        self.get().await.uid().unwrap().parse().unwrap()
    }

    /// How the order service says the sale stands.
    pub async fn standing(&self) -> (u16, Value) {
        self.service.operator().get(&format!("/internal/v1/sales/{}", self.id().await)).await
    }

    /// The reasons of all Events about the sale.
    pub async fn events(&self) -> Vec<String> {
        let events = self.cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
        events.iter().filter_map(|event| event.reason.clone()).collect()
    }
}

/// Applies the Secret that the Shop controller would have created.
pub async fn apply_token(cluster: &Cluster) {
    let token = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "rocket-operator-token" },
        "stringData": { "token": OPERATOR_TOKEN },
    });
    cluster.apply(token).await.unwrap();
}

/// A sale of mugs named `launch`: one per buyer, five seconds to pay.
pub fn launch(opens_in: i64, open_for: i64, units: i64) -> Value {
    json!({
        "apiVersion": "rocketmart.dev/v1alpha1",
        "kind": "FlashSale",
        "metadata": { "name": "launch" },
        "spec": {
            "shop": "rocket",
            "items": [{ "sku": MUG, "units": units, "price": PRICE, "perBuyerLimit": 1 }],
            "currency": "EUR",
            "opensAt": from_now(opens_in),
            "closesAt": from_now(opens_in + open_for),
            "paymentDeadlineSeconds": 5,
            "preloadLeadSeconds": 2,
        },
    })
}

pub fn phase(sale: &FlashSale) -> Option<Phase> {
    sale.status.as_ref().and_then(|status| status.phase)
}

/// The phases that the sale has gone through.
pub fn phases(sale: &FlashSale) -> Vec<Phase> {
    sale.status.iter().flat_map(|status| &status.phase_times).map(|entered| entered.phase).collect()
}
