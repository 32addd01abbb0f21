//! Runs docs/restore.md, block by block from its text (K16): PostgreSQL is set back to a backup, and Redis is
//! empty.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use reqwest::Method;
use rocketmart_shop::{GOOD_CARD, Kubectl, Member, Offer, Sale, Shop, Units, eventually};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    TURN, declared,
    terminal::{Terminal, blocks},
};

const DOCUMENT: &str = "docs/restore.md";
/// Stands in the document for the moment that the reader has to find.
const MOMENT: &str = "2030-01-01T09:00:00Z";
/// No worker is this far behind before the backup.
const BEHIND: Duration = Duration::from_mins(1);
/// Time from the operator's start until the shop answers: ten components at once on few processors.
const LIMIT: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(500);
const PAID: [&str; 5] = ["paid", "preparing", "shipped", "delivered", "completed"];

/// The operator, which the document stops. It starts again, however the test ends.
struct Operator {
    kubectl: Kubectl,
    replicas: Value,
}

impl Operator {
    const DEPLOYMENT: &str = "rocketmart-operator";

    fn of(shop: &Kubectl) -> Self {
        let kubectl = Kubectl { namespace: "rocketmart-system".to_owned(), ..shop.clone() };
        let replicas = Self::replicas(&kubectl);
        Self { kubectl, replicas }
    }

    fn replicas(kubectl: &Kubectl) -> Value {
        kubectl.get("deployment", Self::DEPLOYMENT)["spec"]["replicas"].clone()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if Self::replicas(&self.kubectl) != self.replicas {
            let before = json!({"spec": {"replicas": self.replicas}});
            self.kubectl.patch("deployment", Self::DEPLOYMENT, &before);
        }
    }
}

/// Makes Redis as empty as a new one.
fn empty_redis(kubectl: &Kubectl) {
    let redis = Kubectl { namespace: "backing".to_owned(), ..kubectl.clone() };
    for command in [&["FLUSHALL"][..], &["FUNCTION", "FLUSH"]] {
        redis.run(&[&["exec", "redis-0", "--", "redis-cli"], command].concat(), "");
    }
}

async fn buy(shop: &Shop, buyer: &Member, sale: &Sale) -> Value {
    shop.purchase(buyer, sale).await.expect(201)
}

async fn pay(shop: &Shop, buyer: &Member, order: &Value) {
    shop.pay(buyer, order, &json!({})).await.expect(202);
    shop.order_in(buyer, order["id"].as_str().unwrap(), &PAID).await;
}

/// The provider has one charge for an order, and the buyer sees the order paid.
async fn is_paid_once(shop: &Shop, buyer: &Member, order: &Value) {
    let id = order["id"].as_str().unwrap();
    shop.order_in(buyer, id, &PAID).await;
    let url = format!("{}/v1/charges?reference={id}", shop.place.provider);
    let charges = shop.outside(Method::GET, &url).await.expect(200);
    assert_eq!(charges["data"].as_array().unwrap().len(), 1, "{charges}");
    let payments = shop.get("/api/v1/payments").by(buyer).await.expect(200);
    let all = payments["data"].as_array().unwrap();
    let theirs: Vec<_> = all.iter().filter(|payment| payment["order_id"] == id).collect();
    assert!(theirs.len() == 1 && theirs[0]["state"] == "succeeded", "{payments}");
}

/// Waits until the shop shows an order.
async fn answers(shop: &Shop, buyer: &Member, order: &Value) {
    let path = format!("/api/v1/orders/{}", order["id"].as_str().unwrap());
    let started = Instant::now();
    while !shop.get(&path).by(buyer).send().await.is_ok_and(|answer| answer.status == 200) {
        assert!(
            started.elapsed() < LIMIT,
            "{LIMIT:?} after the operator was started the shop does not answer"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

fn sales(kubectl: &Kubectl) -> Vec<Value> {
    let listed: Value =
        serde_json::from_str(&kubectl.run(&["get", "flashsales", "--output=json"], "")).unwrap();
    listed["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn k16_a_shop_comes_back_from_its_backup_by_the_commands_of_the_document() {
    let _turn = TURN.lock().await;
    let shop = Shop::open().await;
    let (kubectl, name) = declared(&shop);
    let all = blocks(DOCUMENT);
    let (backup, way_back) = all.split_at(all.iter().position(|it| it.section == "The way back").unwrap());
    let [client, dump] = backup else { panic!("how PostgreSQL is reached, and the backup: {backup:?}") };

    let buyer = shop.buyer().await;
    shop.card(&buyer, GOOD_CARD).await;
    shop.address(&buyer).await;
    let terms = |sku: &str| Offer { per_buyer_limit: 10, payment_seconds: 600, ..Offer::of(sku, 10) };
    let sale = shop.sale_on(terms).await;
    let earlier = buy(&shop, &buyer, &sale).await;
    pay(&shop, &buyer, &earlier).await;

    let moment = OffsetDateTime::from(SystemTime::now() - BEHIND).replace_nanosecond(0).unwrap();
    let brokers = kubectl.get("shop", &name)["spec"]["kafka"]["brokers"].as_str().unwrap().to_owned();
    let names = vec![
        ("NAMESPACE", kubectl.namespace.clone()),
        ("BROKERS=BROKERS", format!("BROKERS={brokers}")),
        (MOMENT, moment.format(&Rfc3339).unwrap()),
        ("SHOP", name),
    ];
    for (name, _) in &names {
        assert!(all.iter().any(|block| block.text.contains(name)), "{DOCUMENT} leaves {name} open");
    }
    let terminal = Terminal::open(&kubectl, names);
    let run = |commands: &str| {
        let inside = commands.contains("$POSTGRES");
        tokio::task::block_in_place(|| {
            if inside { terminal.run_inside(&client.text, commands) } else { terminal.run(commands) }
        })
    };
    run(&dump.text);

    let paid = buy(&shop, &buyer, &sale).await;
    pay(&shop, &buyer, &paid).await;
    let unpaid = buy(&shop, &buyer, &sale).await;
    // What had not left Redis would be lost with it.
    let booked = Units { remaining: 7, reserved: 1, sold: 2 };
    shop.units_become(&sale, "all of it is in the books", booked).await;

    let operator = Operator::of(&kubectl);
    let mut is_lost = false;
    for block in way_back {
        if block.text.contains("$POSTGRES") && !is_lost {
            empty_redis(&kubectl);
            is_lost = true;
        }
        let printed = run(&block.text);
        if block.text.contains("rewind") {
            for group in ["order-worker", "payment-worker", "delivery-worker"] {
                assert!(printed.contains(&format!("{group}  ")), "{group} is moved: {printed}");
            }
        }
    }
    assert!(is_lost, "{DOCUMENT} restores PostgreSQL");
    assert_eq!(Operator::replicas(&operator.kubectl), operator.replicas, "as many as there were before");

    answers(&shop, &buyer, &earlier).await;
    eventually("no sale is in doubt", async || {
        let paused = |sale: &Value| sale["status"]["phase"] == "Paused";
        let is_rebuilt = |own: &Value| {
            let mut conditions = own["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|condition| condition["type"] == "Rebuilt" && condition["status"] == "True")
        };
        let all = sales(&kubectl);
        let own = all.iter().find(|found| found["metadata"]["name"] == sale.name)?;
        (is_rebuilt(own) && !all.iter().any(paused)).then_some(())
    })
    .await;
    for order in [&earlier, &paid] {
        is_paid_once(&shop, &buyer, order).await;
    }
    pay(&shop, &buyer, &unpaid).await;
    let later = buy(&shop, &buyer, &sale).await;
    pay(&shop, &buyer, &later).await;
    let all = [&earlier, &paid, &unpaid, &later];
    let ids: BTreeSet<_> = all.iter().map(|order| order["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "each purchase has an order of its own");
    for order in all {
        is_paid_once(&shop, &buyer, order).await;
    }
    let sold = Units { remaining: 6, reserved: 0, sold: 4 };
    shop.units_become(&sale, "the books show what was bought before and after", sold).await;
}
