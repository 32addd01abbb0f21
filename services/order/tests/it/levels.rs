//! What the rest of the shop hears about how many units buyers can get.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rocketmart_contracts::event::StockLevel;
use rocketmart_contracts::topic::STOCK_LEVELS;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler, read_all_then_follow};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::ordinary::{PEN, buy, with_pens};
use crate::shop::{Shop, becomes, offer, product};

/// The latest level of each SKU.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<HashMap<String, StockLevel>>>);

#[async_trait]
impl Handler for Heard {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let mut heard = self.0.lock().unwrap();
        for delivery in batch {
            let level: StockLevel = delivery.event.parse().unwrap();
            assert_eq!(delivery.event.key, level.sku);
            let version = level.version;
            let before = heard.insert(level.sku.clone(), level);
            assert!(before.is_none_or(|before| before.version < version));
        }
        Ok(())
    }
}

impl Heard {
    fn of(shop: &Shop) -> (Self, DropGuard) {
        let (heard, stop, kafka) = (Self::default(), CancellationToken::new(), shop.backing.kafka.clone());
        let (handler, until) = (Arc::new(heard.clone()), stop.clone());
        tokio::spawn(async move {
            read_all_then_follow(&kafka, "test", STOCK_LEVELS, handler, || (), until).await.unwrap();
        });
        (heard, stop.drop_guard())
    }

    fn level(&self, sku: &str) -> Option<i64> {
        self.0.lock().unwrap().get(sku).map(|level| level.available)
    }

    async fn becomes(&self, sku: &str, available: i64) {
        becomes(&format!("what is heard of {sku}"), Some(available), async || self.level(sku)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_had_of_a_sku_is_told_whatever_changes_it_s4() {
    let shop = with_pens(10).await;
    let (heard, _listening) = Heard::of(&shop);
    heard.becomes(PEN, 10).await;
    for _ in 0..8 {
        assert_eq!(buy(&shop.buyer(), &[(PEN, 1)]).await.0, 201);
    }
    heard.becomes(PEN, 2).await;
    let mut terms = offer(2);
    terms["items"][0]["sku"] = json!(PEN);
    let path = format!("/internal/v1/sales/{}", Uuid::now_v7());
    assert_eq!(shop.operator().put(&path, &terms).await.0, 200);
    heard.becomes(PEN, 0).await;

    shop.backing.follow(&product(PEN, 15, 2)).await;
    heard.becomes(PEN, 5).await;
    let mut withdrawn = product(PEN, 15, 3);
    withdrawn["state"] = json!("withdrawn");
    shop.backing.follow(&withdrawn).await;
    heard.becomes(PEN, 0).await;
}
