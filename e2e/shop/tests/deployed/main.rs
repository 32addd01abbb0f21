//! Tests that only make sense for a shop on a cluster, done as a platform team would do them: all neighbours
//! of the order service stopped at once, the image upgraded and the entrance moved while a sale is open, the
//! payment provider out of order for a while, and the commands that documents give for a shop in trouble.
//!
//! These tests need a deployed shop (`cargo xtask test deployed` says where it is) and take turns with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod entrance;
mod neighbours;
#[path = "../shared/outage.rs"]
mod outage;
mod restored;
mod rush;
mod terminal;
mod trouble;
mod upgrade;

use rocketmart_shop::{Kubectl, Sales, Shop};
use tokio::sync::Mutex;

static TURN: Mutex<()> = Mutex::const_new(());

/// kubectl, and the name of the Shop.
fn declared(shop: &Shop) -> (Kubectl, String) {
    match shop.place.sales.clone() {
        Sales::Operator { kubectl, shop } => (kubectl, shop),
        Sales::InternalApi { .. } => {
            panic!("there is no cluster: `cargo xtask test deployed` says where one is")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_payments_outlive_an_outage_of_the_provider() {
    let _turn = TURN.lock().await;
    outage::payments_outlive_an_outage_of_the_provider(&Shop::open().await).await;
}
