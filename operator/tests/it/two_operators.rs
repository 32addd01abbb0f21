//! Two operator processes and one Lease: the leader is frozen past its lease, and thaws.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use rocketmart_crds::Phase;
use rocketmart_harness::{
    ports,
    process::{self, Process, Server},
};
use serde_json::json;

use crate::{
    cluster::{sale_condition, server},
    market::{Market, launch},
    order_service::eventually,
};

/// A real process, as the chart runs it; only its lease is shorter.
fn operator(market: &Market, name: &str) -> Process {
    let environment = [
        ("KUBECONFIG", server().kubeconfig().display().to_string()),
        ("WATCH_NAMESPACE", market.cluster.namespace.clone()),
        ("POD_NAMESPACE", market.cluster.namespace.clone()),
        ("POD_NAME", name.to_owned()),
        ("LEASE_SECONDS", "3".to_owned()),
        ("ORDER_URL", market.service.api.clone()),
        ("ADMIN_LISTEN", format!("127.0.0.1:{}", ports::free_port().unwrap())),
        ("LOG_FORMAT", "text".to_owned()),
    ];
    let folder = process::scratch("operator").unwrap();
    let server = Server {
        name: "rocketmart-operator",
        program: env!("CARGO_BIN_EXE_rocketmart-operator").into(),
        arguments: vec![],
        environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
        log: folder.join("operator.log"),
        user: None,
    };
    server.spawn().unwrap()
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
    let mut frozen = operator(&market, "one");
    until_leads(&market, "one").await;
    let _other = operator(&market, "two");
    let mut sale = launch(8, 600, 5);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Scheduled).await;
    frozen.signal("STOP").unwrap();
    until_leads(&market, "two").await;
    market.until(Phase::Open).await;
    assert_eq!(market.service.backing.standing().await, [100, 5], "loaded once");

    frozen.signal("CONT").unwrap();
    let ended = tokio::task::spawn_blocking(move || frozen.wait_for(Duration::from_secs(20)));
    let ended = ended.await.unwrap().unwrap().expect("goes on although it lost the lease");
    assert!(!ended.success(), "a lost lease is an error");
    assert_eq!(market.service.backing.ledger().await, [5, 5, 0, 0]);

    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    let closed = market.until(Phase::Closed).await;
    assert!(sale_condition(&closed, "Reconciled", "True").is_some());
    assert_eq!(market.service.backing.standing().await, [100, 0]);
}
