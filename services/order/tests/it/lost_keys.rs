//! Redis loses single keys of an open sale, or its settings allow it to (S7).

use serde_json::json;
use uuid::Uuid;

use crate::outages::readyz;
use crate::rebuild::{closed, kinds, rebuild, status};
use crate::shop::{Backing, Shop, becomes, eventually, offer};

async fn redis(shop: &Shop, command: &[&str]) {
    let client = redis::Client::open(shop.backing.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (name, arguments) = command.split_first().unwrap();
    let _: redis::Value = redis::cmd(name).arg(arguments).query_async(&mut connection).await.unwrap();
}

/// S7
#[tokio::test(flavor = "multi_thread")]
async fn whatever_key_of_an_open_sale_is_lost_the_limit_holds_and_a_repetition_finds_its_order() {
    let shop = Shop::open().await;
    for name in ["sale", "stock", "held", "keys", "reservations", "deadlines", "events"] {
        let mut terms = offer(10);
        terms["name"] = json!(format!("without-{name}"));
        let sale = shop.sale(terms.clone()).await;
        let (buyer, paying) = (shop.buyer(), shop.buyer());
        let (_, order) = buyer.purchase(sale, 1, "k").await;
        let id = order["id"].as_str().unwrap();
        let paid = shop.buy_and_pay(&paying, sale).await;
        shop.until_booked(id, "reserved").await;

        redis(&shop, &["DEL", &format!("rm:{{{sale}}}:{name}")]).await;
        for key in ["k", "another"] {
            let (code, answer) = buyer.purchase(sale, 1, key).await;
            assert_eq!((code, answer["code"].as_str()), (503, Some("sale-paused")), "{name}: {answer}");
        }
        let (code, answer) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
        assert_eq!(code, 503, "{name}: {answer}");
        // An operator who asks is told, and the service also notices by itself.
        let doubted = "SELECT count(*) FROM sales WHERE doubt IS NOT NULL";
        becomes("the sale is in doubt", 1, async || shop.backing.number(doubted).await).await;
        let standing = status(&shop, sale).await;
        let told = kinds(&standing);
        assert!(
            told.contains(&if name == "sale" { "redis-lost" } else { "redis-behind" }),
            "{name}: {told:?}"
        );
        // Loading the sale again does not start it over.
        let (_, again) = shop.operator().put(&format!("/internal/v1/sales/{sale}"), &terms).await;
        assert_eq!(again["verified"], false, "{name}: {again}");

        let rebuilt = rebuild(&shop, sale).await;
        assert_eq!(rebuilt["rebuilt"]["orders"], 2, "{name}: {rebuilt}");
        let (code, again) = buyer.purchase(sale, 1, "k").await;
        assert_eq!((code, again["id"].as_str()), (201, Some(id)), "{name}: {again}");
        for buyer in [&buyer, &paying] {
            let (code, refused) = buyer.purchase(sale, 1, "another").await;
            assert_eq!(
                (code, refused["code"].as_str()),
                (409, Some("buyer-limit-exceeded")),
                "{name}: {refused}"
            );
        }
        assert_eq!(paying.purchase(sale, 1, "k").await.1["id"], paid["id"], "{name}");
        let (code, cancelled) = buyer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await;
        assert_eq!(code, 200, "{name}: {cancelled}");
        let report = closed(&shop, sale).await;
        assert_eq!(report["matched"], 2, "{name}: {report}");
    }
}

/// S7
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_loaded_or_sold_while_redis_is_set_to_lose_what_it_accepts() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let buyer = shop.buyer();
    assert_eq!(buyer.purchase(sale, 1, "k").await.0, 201);
    let mut probes = Vec::new();
    for part in [shop.backing.api().await, shop.backing.relay().await, shop.backing.worker().await] {
        probes.push(Backing::run_at(part).await);
    }
    for (setting, wrong, right) in
        [("maxmemory-policy", "allkeys-lru", "noeviction"), ("appendfsync", "everysec", "always")]
    {
        redis(&shop, &["CONFIG", "SET", setting, wrong]).await;
        for (at, _) in &probes {
            let (code, report) = readyz(at).await;
            let named = report["missing"].to_string();
            assert!(code == 503 && named.contains(setting) && named.contains(wrong), "{report}");
        }
        let other = Uuid::now_v7();
        let (code, refused) = shop.operator().put(&format!("/internal/v1/sales/{other}"), &offer(1)).await;
        assert_eq!((code, refused["code"].as_str()), (503, Some("redis-unsafe")), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(setting), "{refused}");
        let paused = async || buyer.purchase(sale, 1, "k").await.1["code"] == "sale-paused";
        eventually("nothing is sold", paused).await;
        redis(&shop, &["CONFIG", "SET", setting, right]).await;
        eventually("it is sold again", async || buyer.purchase(sale, 1, "k").await.0 == 201).await;
        for (at, _) in &probes {
            eventually("it is ready again", async || readyz(at).await.0 == 200).await;
        }
    }
}
