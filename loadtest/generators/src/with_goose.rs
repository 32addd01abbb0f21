//! goose, used as its book says: a transaction, a scenario, its own client and its own metrics.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use goose::config::GooseConfiguration;
use goose::prelude::*;
use uuid::Uuid;

use crate::with_hyper::Order;
use crate::{BODY, PATH, token};

/// The number of the next request. goose's transactions are functions, so they can only share a static.
static NEXT: AtomicU64 = AtomicU64::new(0);

async fn buy(user: &mut GooseUser) -> TransactionResult {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let builder = user
        .get_request_builder(&GooseMethod::Post, PATH)?
        .bearer_auth(token())
        .header("idempotency-key", Uuid::from_u128(n.into()).hyphenated().to_string())
        .header("content-type", "application/json")
        .body(BODY);
    let request = GooseRequest::builder().set_request_builder(builder).expect_status_code(201).build();
    let answer = user.request(request).await?;
    if let Ok(answer) = answer.response {
        answer.json::<Order>().await?;
    }
    Ok(())
}

/// How many requests got the expected answer, and the seconds.
pub(crate) fn ask(address: SocketAddr, connections: usize, seconds: u64) -> Result<(u64, f64)> {
    let mut configuration = GooseConfiguration::default();
    configuration.host = format!("http://{address}");
    configuration.users = Some(connections);
    configuration.hatch_rate = Some("1000".to_owned());
    configuration.run_time = seconds.to_string();
    configuration.no_reset_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_telnet = true;
    configuration.no_websocket = true;
    configuration.quiet = 2;
    let attack = GooseAttack::initialize_with_config(configuration)?
        .register_scenario(scenario!("buyers").register_transaction(transaction!(buy)));
    let metrics = tokio::runtime::Runtime::new()?.block_on(attack.execute())?;
    let (good, bad) = metrics
        .requests
        .values()
        .fold((0, 0), |(good, bad), each| (good + each.success_count, bad + each.fail_count));
    ensure!(bad == 0, "{bad} of {} answers were wrong", good + bad);
    Ok((good as u64, metrics.duration as f64))
}
