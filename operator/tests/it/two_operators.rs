//! Two operator processes and one Lease: the leader freezes past its lease, and thaws.

use k8s_openapi::api::coordination::v1::Lease;
use rocketmart_crds::Phase;
use serde_json::json;

use crate::{
    cluster::{sale_condition, server},
    market::{Market, launch},
    order_service::eventually,
    process::OperatorProcess,
};

fn operator(market: &Market, name: &str) -> OperatorProcess {
    let namespace = market.cluster.namespace.as_str();
    let settings = [("WATCH_NAMESPACE", namespace), ("ORDER_URL", market.service.api.as_str())];
    OperatorProcess::start(&server().kubeconfig(), namespace, name, &settings)
}

async fn until_leads(market: &Market, name: &str) {
    let leases = market.cluster.api::<Lease>();
    eventually(&format!("{name} leads"), async || {
        let lease = leases.get_opt("rocketmart-operator").await.unwrap();
        lease.and_then(|lease| lease.spec?.holder_identity).as_deref() == Some(name)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_frozen_past_its_lease_is_replaced_and_moves_nothing_when_it_thaws() {
    let market = Market::open("frozen").await;
    let frozen = operator(&market, "one");
    until_leads(&market, "one").await;
    let _other = operator(&market, "two");
    let mut sale = launch(8, 600, 5);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Scheduled).await;
    frozen.signal("STOP");
    until_leads(&market, "two").await;
    market.until(Phase::Open).await;
    assert_eq!(market.service.backing.standing().await, [100, 5], "loaded once");

    frozen.signal("CONT");
    assert!(!frozen.ends_well().await, "a lost lease is an error");
    assert_eq!(market.service.backing.ledger().await, [5, 5, 0, 0]);

    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    let closed = market.until(Phase::Closed).await;
    assert!(sale_condition(&closed, "Reconciled", "True").is_some());
    assert_eq!(market.service.backing.standing().await, [100, 0]);
}
