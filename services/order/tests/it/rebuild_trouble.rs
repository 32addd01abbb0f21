//! What goes wrong around a rebuild: an older copy of Redis, a rebuild cut short, two at once, news that
//! comes too late, an order that Redis has never heard of.

use rocketmart_contracts::event::{OrderPaid, Payload as _, PaymentRequested, Reserved};
use rocketmart_contracts::topic;
use rocketmart_kit::event::Event;
use rocketmart_stock::{
    ItemSpec, Restore, RestoreOutcome, SaleId, SaleSpec, SaleState, StreamPosition, VouchOutcome,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::rebuild::{close_out, command, flush, kinds, rebuild, status};
use crate::shop::{Caller, MUG, PRICE, Shop, eventually, offer};

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_redis_sells_nothing_before_it_is_rebuilt() {
    let mut shop = Shop::open().await;
    let sale = shop.open_sale(5).await;
    shop.buy_and_pay(&shop.buyer(), sale).await;
    let copy = shop.backing.redis.copy_data().unwrap();
    for _ in 0..2 {
        shop.buy_and_pay(&shop.buyer(), sale).await;
    }
    let holder = shop.buyer();
    let (_, held) = holder.purchase(sale, 1, "k").await;
    let held_id = held["id"].as_str().unwrap();
    shop.until_booked(held_id, "reserved").await;

    // From the first moment on, people ask without a pause. By the copy, four mugs are left.
    shop.backing.redis.kill();
    let stop = CancellationToken::new();
    let (asking, buyers) = (stop.clone(), (0..8).map(|_| shop.buyer()).collect::<Vec<_>>());
    let hammering = tokio::spawn(async move {
        let mut sold = Vec::new();
        for buyer in buyers.iter().cycle().take_while(|_| !asking.is_cancelled()) {
            let (status, answer) = buyer.purchase(sale, 1, "k").await;
            sold.extend((status == 201).then_some(answer));
        }
        sold
    });
    shop.backing.redis.restart_from(&copy).unwrap();
    let mut standing = Value::Null;
    eventually("it is noticed", async || {
        standing = status(&shop, sale).await;
        standing["differences"].as_array().is_some_and(|found| !found.is_empty())
    })
    .await;
    assert_eq!(
        (kinds(&standing), &standing["verified"]),
        (vec!["redis-behind"], &json!(false)),
        "{standing}"
    );
    stop.cancel();
    assert_eq!(hammering.await.unwrap(), Vec::<Value>::new(), "sold by the copy");

    let standing = rebuild(&shop, sale).await;
    assert_eq!(standing["items"], standing["ledger"], "{standing}");
    assert_eq!(standing["items"][0]["sold"], 3, "{standing}");
    assert_eq!(holder.purchase(sale, 1, "k").await.1["id"], held["id"]);
    holder.post(&format!("/api/v1/orders/{held_id}/cancel"), &json!({})).await;
    close_out(&shop, sale).await;
}

/// Releases whatever is still reserved.
async fn release_all(shop: &Shop) {
    eventually("nothing is reserved", async || {
        let reserved: Vec<(Uuid, Uuid)> =
            sqlx::query_as("SELECT sale_id, id FROM orders WHERE state = 'reserved'")
                .fetch_all(&shop.backing.pool)
                .await
                .unwrap();
        for (sale, order) in &reserved {
            let release = [((*order).into(), rocketmart_stock::ReleaseReason::Cancelled)];
            shop.backing.stock.release((*sale).into(), &release).await.unwrap();
        }
        reserved.is_empty()
    })
    .await;
}

/// A sale of five with an order whose payment was requested. Redis has lost the sale, and the payment is
/// parked.
async fn lost(shop: &Shop) -> (Uuid, String) {
    let sale = shop.open_sale(5).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap().to_owned();
    buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    shop.told.until(PaymentRequested::TYPE, &id, 1).await;
    flush(shop).await;
    shop.payment_succeeds(&order, Uuid::now_v7()).await;
    eventually("its payment is parked", async || {
        shop.backing.number("SELECT count(*) FROM parked_payments").await == 1
    })
    .await;
    (sale, id)
}

async fn ends_well(shop: &Shop, sale: Uuid, order: &str) {
    let standing = rebuild(shop, sale).await;
    assert_eq!(standing["items"][0]["preloaded"], 5, "{standing}");
    shop.until_booked(order, "paid").await;
    shop.told.until(OrderPaid::TYPE, order, 1).await;
    assert_eq!(shop.backing.ledger().await, [5, 4, 0, 1]);
    assert_eq!(close_out(shop, sale).await["orders"]["paid"], 1);
}

/// The sale as an interrupted attempt had begun to build it: here, without any order.
async fn half_built(shop: &Shop, sale: Uuid) -> Restore {
    let time = async |column: &'static str| shop.backing.number(column).await;
    let spec = SaleSpec {
        id: SaleId(sale),
        name: "mugs".into(),
        fence: 1,
        currency: "EUR".into(),
        opens_at_ms: time(
            "SELECT (extract(epoch FROM opens_at) * 1000)::bigint FROM sales WHERE NOT standing",
        )
        .await,
        closes_at_ms: Some(
            time("SELECT (extract(epoch FROM closes_at) * 1000)::bigint FROM sales WHERE NOT standing").await,
        ),
        payment_seconds: 60,
        items: vec![ItemSpec { sku: MUG.into(), units: 5, price: PRICE, per_buyer_limit: Some(1) }],
    };
    Restore { spec, state: SaleState::Ready, incarnation: 1, stream_from_ms: 1, reservations: vec![] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_was_cut_short_after_its_swap_is_not_believed_and_begun_again() {
    let shop = Shop::open().await;
    let (sale, order) = lost(&shop).await;
    // Incarnation 1 had begun and swapped in, but had not ended the doubt.
    sqlx::query("UPDATE sales SET incarnation = 1 WHERE NOT standing")
        .execute(&shop.backing.pool)
        .await
        .unwrap();
    let half = half_built(&shop, sale).await;
    assert_eq!(shop.backing.stock.restore(&half).await, Ok(RestoreOutcome::Restored));
    let (code, answer) = shop.buyer().purchase(sale, 1, "k").await;
    assert_eq!((code, answer["code"].as_str()), (503, Some("sale-paused")), "{answer}");
    assert_eq!(kinds(&status(&shop, sale).await)[..1], ["redis-behind"]);
    assert_eq!(shop.backing.number("SELECT count(*) FROM parked_payments").await, 1);
    ends_well(&shop, sale, &order).await;

    // An attempt that froze before it began can no longer change anything.
    assert_eq!(shop.backing.stock.restore(&half).await, Ok(RestoreOutcome::Superseded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_whose_redis_is_killed_again_and_again_ends_well() {
    let mut shop = Shop::open().await;
    let (sale, order) = lost(&shop).await;
    for millis in [0, 30, 80, 150, 300] {
        let (operator, path) = (shop.operator(), format!("/internal/v1/sales/{sale}/rebuild"));
        let rebuilding = tokio::spawn(async move { operator.post(&path, &json!({ "fence": 1 })).await });
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        shop.backing.redis.restart().unwrap();
        rebuilding.await.unwrap();
    }
    eventually("Redis answers again", async || status(&shop, sale).await["id"].is_string()).await;
    ends_well(&shop, sale, &order).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_and_two_operators_at_once_one_rebuilds_and_a_stale_fence_none() {
    let mut shop = Shop::open().await;
    let (sale, order) = lost(&shop).await;
    let (second, guard) = shop.backing.run_api().await;
    shop.keep(guard);
    let path = format!("/internal/v1/sales/{sale}/rebuild");
    let (one, other) = (shop.operator(), Caller { api: second, ..shop.operator() });
    eventually("it is rebuilt", async || {
        let fence = json!({ "fence": 7 });
        let ((first, a), (second, b)) = tokio::join!(one.post(&path, &fence), other.post(&path, &fence));
        for (status, answer) in [(first, &a), (second, &b)] {
            let code = answer["code"].as_str().unwrap_or_default();
            let in_time = matches!(code, "events-in-flight" | "rebuild-superseded");
            assert!(status == 200 || (status == 409 && in_time), "{status}: {answer}");
        }
        first == 200 && second == 200
    })
    .await;
    let rebuilds = "SELECT count(*) FROM rebuilds JOIN sales ON id = sale_id WHERE NOT standing";
    assert_eq!(shop.backing.number(rebuilds).await, 1);
    let (code, answer) = one.post(&path, &json!({ "fence": 6 })).await;
    assert_eq!((code, answer["code"].as_str()), (409, Some("stale-fence")), "{answer}");
    let (code, again) = one.post(&path, &json!({ "fence": 7 })).await;
    assert_eq!(
        (code, &again["verified"], &again["rebuilt"]["incarnation"]),
        (200, &json!(true), &a_number(&shop).await)
    );
    shop.until_booked(&order, "paid").await;
}

async fn a_number(shop: &Shop) -> Value {
    json!(shop.backing.number("SELECT max(incarnation)::bigint FROM rebuilds").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_arrives_after_the_rebuild_is_void_and_counted() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(1).await;
    let (_, order) = shop.buyer().purchase(sale, 1, "k").await;
    shop.until_booked(order["id"].as_str().unwrap(), "reserved").await;
    let left: (i64, i64) = sqlx::query_as("SELECT ms, sequence FROM stream_positions")
        .fetch_one(&shop.backing.pool)
        .await
        .unwrap();
    flush(&shop).await;
    rebuild(&shop, sale).await;
    // Another relay had a reservation of the same unit in its hands.
    let late = Uuid::now_v7();
    let data = json!({ "order_id": late, "sale_id": sale, "buyer_id": Uuid::now_v7(), "amount": PRICE,
        "lines": [{ "sku": MUG, "quantity": 1, "unit_price": PRICE }], "currency": "EUR",
        "reserved_at_ms": left.0, "pay_by_ms": left.0 + 60_000 });
    let mut event = Event::new("/rocketmart/test", Reserved::TYPE, late, &data);
    event.id = format!("{sale}/{}-{}/0", left.0, left.1 + 1);
    for _ in 0..2 {
        shop.backing.producer.send_all(topic::RESERVATIONS, &[event.clone()]).await.unwrap();
    }
    eventually("it is counted", async || status(&shop, sale).await["rebuilt"]["late_reservations"] == 1)
        .await;
    assert_eq!(shop.backing.ledger().await, [1, 0, 1, 0]);
    assert_eq!(shop.backing.number("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_redis_has_never_heard_of_ends_in_a_rebuild_and_not_in_endless_retries() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(5).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    let client = redis::Client::open(shop.backing.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let reservations = format!("rm:{{{sale}}}:reservations");
    let _: i64 = redis::cmd("HDEL").arg(&reservations).arg(id).query_async(&mut connection).await.unwrap();
    assert_eq!(status(&shop, sale).await["verified"], true, "nobody has noticed");

    shop.payment_succeeds(&order, Uuid::now_v7()).await;
    let next = shop.buyer();
    let mut tries = 0;
    eventually("the sale pauses by itself", async || {
        tries += 1;
        next.purchase(sale, 1, &format!("try-{tries}")).await.1["code"] == "sale-paused"
    })
    .await;
    assert_eq!(kinds(&status(&shop, sale).await), ["redis-behind"]);
    rebuild(&shop, sale).await;
    shop.until_booked(id, "paid").await;
    release_all(&shop).await;
    close_out(&shop, sale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_is_whole_is_not_rebuilt_and_one_never_loaded_cannot_be() {
    let mut shop = Shop::with_api_only().await;
    let sale = shop.open_sale(10).await;
    assert_eq!(shop.buyer().purchase(sale, 1, "k").await.0, 201);
    let before = status(&shop, sale).await;
    let (code, after) = command(&shop, sale, "rebuild").await;
    assert_eq!((code, &after["state"], &after["items"]), (200, &json!("ready"), &before["items"]), "{after}");
    assert!(after["rebuilt"].is_null());
    // A restart is not a loss: whoever is there vouches for Redis, and the sale resumes.
    shop.backing.redis.restart().unwrap();
    let buyer = shop.buyer();
    eventually("it sells again", async || buyer.purchase(sale, 1, "k").await.0 == 201).await;
    assert_eq!(shop.backing.number("SELECT count(*) FROM sales WHERE doubt IS NOT NULL").await, 0);
    // A Redis that comes back without what it had told has lost something: here, one entry past the end of
    // its stream.
    let counters = shop.backing.stock.counters(SaleId(sale)).await.unwrap().unwrap();
    let end: StreamPosition = counters.last_event_id.parse().unwrap();
    let more = StreamPosition { sequence: end.sequence + 1, ..end };
    let vouched = shop.backing.stock.vouch(SaleId(sale), 0, more).await.unwrap();
    assert!(matches!(vouched, VouchOutcome::Behind(_)));

    let never = Uuid::now_v7();
    assert_eq!(command(&shop, never, "rebuild").await.0, 404);
    supply_nothing(&shop, never).await;
    let (code, answer) = command(&shop, never, "rebuild").await;
    assert_eq!((code, answer["code"].as_str()), (409, Some("nothing-to-rebuild")), "{answer}");
}

/// A sale that was allotted and never reached Redis.
async fn supply_nothing(shop: &Shop, sale: Uuid) {
    let terms = offer(10);
    let moment = |field: &str| terms[field].as_str().unwrap().to_owned();
    sqlx::query(
        "INSERT INTO sales (id, name, state, currency, opens_at, closes_at, payment_seconds, fence)
         VALUES ($1, 'pens', 'loading', 'EUR', $2::timestamptz, $3::timestamptz, 60, 1)",
    )
    .bind(sale)
    .bind(moment("opens_at"))
    .bind(moment("closes_at"))
    .execute(&shop.backing.pool)
    .await
    .unwrap();
}
