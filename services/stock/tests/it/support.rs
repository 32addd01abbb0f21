//! A sale on a Redis of its own, and short ways to say what a test does with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use rocketmart_harness::backing::Redis;
use rocketmart_stock::{
    BuyerId, ItemCounters, ItemSpec, Line, LoadOutcome, OrderId, PaymentDetails, Reservation, Reserve,
    ReserveOutcome, SaleCounters, SaleId, SaleSpec, SaleState, SetStateOutcome, Stock, StreamPosition,
    SubmitPayment, VouchOutcome,
};
use uuid::Uuid;

pub(crate) const TEA: &str = "tea";
pub(crate) const CUP: &str = "cup";
pub(crate) const GRACE: Duration = Duration::from_hours(1);
pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An open sale, with an hour to pay.
pub(crate) struct Sale {
    pub(crate) redis: Redis,
    pub(crate) stock: Stock,
    pub(crate) spec: SaleSpec,
}

impl Sale {
    /// With tea only, and no limit per buyer.
    pub(crate) async fn of_tea(units: u32) -> Self {
        Self::of(vec![item(TEA, units, None)]).await
    }

    pub(crate) async fn of(items: Vec<ItemSpec>) -> Self {
        let redis = Redis::start().unwrap();
        let stock = patient(&redis);
        let spec = spec(items);
        assert_eq!(stock.load(&spec).await, Ok(LoadOutcome::Loaded));
        let sale = Self { redis, stock, spec };
        sale.set_state(SaleState::Ready).await;
        sale
    }

    pub(crate) fn id(&self) -> SaleId {
        self.spec.id
    }

    pub(crate) async fn set_state(&self, state: SaleState) {
        assert_eq!(self.stock.set_state(self.id(), self.spec.fence, state).await, Ok(SetStateOutcome::Set));
    }

    /// Vouches for the sale: it was never rebuilt, and nothing has left it.
    pub(crate) async fn vouch(&self) {
        let vouched = self.stock.vouch(self.id(), 0, StreamPosition::default()).await;
        assert_eq!(vouched, Ok(VouchOutcome::Vouched));
    }

    /// A client like another replica's: it shares nothing but Redis.
    pub(crate) fn another_replica(&self) -> Stock {
        patient(&self.redis)
    }

    pub(crate) fn wish(&self, buyer: BuyerId, key: &str, lines: &[(&str, u32)]) -> Reserve {
        wish(self.id(), buyer, key, lines)
    }

    pub(crate) async fn decide(&self, wish: &Reserve) -> ReserveOutcome {
        self.stock.reserve(self.id(), std::slice::from_ref(wish)).await.unwrap().remove(0)
    }

    /// Lets deadlines pass, with an hour of grace for payments under way, and returns how many were released.
    pub(crate) async fn expire(&self, limit: usize) -> usize {
        self.stock.expire(self.id(), limit, GRACE).await.unwrap().released
    }

    /// Reserves one unit of tea under a fresh key.
    pub(crate) async fn reserve_tea(&self, buyer: BuyerId) -> Reservation {
        let key = Uuid::new_v4().to_string();
        expect_reserved(self.decide(&self.wish(buyer, &key, &[(TEA, 1)])).await)
    }

    /// A wish to pay at once, without a payment method.
    pub(crate) fn payment(&self, reservation: &Reservation) -> SubmitPayment {
        SubmitPayment {
            sale: self.id(),
            order: reservation.order,
            buyer: reservation.buyer,
            details: Some(PaymentDetails::default()),
            traceparent: None,
        }
    }

    pub(crate) async fn counters(&self) -> SaleCounters {
        self.stock.counters(self.id()).await.unwrap().unwrap()
    }

    /// `(remaining, reserved, sold)` of tea, after checking that the books balance.
    pub(crate) async fn tea(&self) -> (u32, u32, u32) {
        let counters = self.counters().await;
        counters.items.iter().for_each(assert_balanced);
        let tea = counters.items.iter().find(|item| item.sku == TEA).unwrap();
        (tea.remaining, tea.reserved, tea.sold)
    }

    /// The test's own connection, for what no client of the engine does.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        let config =
            redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let client = redis::Client::open(self.redis.url()).unwrap();
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// Moves a reservation's deadline into the past instead of waiting for it.
    pub(crate) async fn let_deadline_pass(&self, reservation: &Reservation) {
        let mut connection = self.connection().await;
        let [order, past] = [reservation.order.to_string(), "1000000000001".to_owned()];
        let reservations = format!("rm:{{{}}}:reservations", self.id());
        let record: String =
            redis::cmd("HGET").arg(&reservations).arg(&order).query_async(&mut connection).await.unwrap();
        let record = record.replace(&reservation.pay_by_ms.to_string(), &past);
        let deadlines = format!("rm:{{{}}}:deadlines", self.id());
        let _: ((), ()) = redis::pipe()
            .cmd("HSET")
            .arg(&reservations)
            .arg(&order)
            .arg(record)
            .cmd("ZADD")
            .arg(&deadlines)
            .arg("XX")
            .arg(&past)
            .arg(&order)
            .query_async(&mut connection)
            .await
            .unwrap();
    }
}

/// A client that sits out a busy disk. Tests of time-outs bring their own.
fn patient(redis: &Redis) -> Stock {
    Stock::with_response_timeout(&redis.url(), Duration::from_secs(30)).unwrap()
}

/// What [`Sale::let_deadline_pass`] sets.
pub(crate) const PAST_DEADLINE: i64 = 1_000_000_000_001;

pub(crate) fn item(sku: &str, units: u32, per_buyer_limit: Option<u32>) -> ItemSpec {
    ItemSpec { sku: sku.to_owned(), units, price: 1_000, per_buyer_limit }
}

/// Open for a minute already, and for another hour.
pub(crate) fn spec(items: Vec<ItemSpec>) -> SaleSpec {
    SaleSpec {
        id: SaleId(Uuid::new_v4()),
        name: "spring".to_owned(),
        fence: 7,
        currency: "EUR".to_owned(),
        opens_at_ms: now_ms() - 60_000,
        closes_at_ms: Some(now_ms() + 3_600_000),
        payment_seconds: 3_600,
        items,
    }
}

pub(crate) fn wish(sale: SaleId, buyer: BuyerId, key: &str, lines: &[(&str, u32)]) -> Reserve {
    let lines: Vec<_> = lines.iter().map(|&(sku, quantity)| Line::new(sku, quantity)).collect();
    Reserve {
        sale,
        order: OrderId(Uuid::new_v4()),
        buyer,
        request_hash: fingerprint(&lines),
        lines,
        key: key.to_owned(),
        traceparent: Some(TRACE.to_owned()),
    }
}

/// Short, and the same for the same lines.
pub(crate) fn fingerprint(lines: &[Line]) -> String {
    let line = |line: &Line| format!("{}:{}:{:?};", line.sku, line.quantity, line.agreed_price);
    lines.iter().map(line).collect()
}

pub(crate) fn a_buyer() -> BuyerId {
    BuyerId(Uuid::new_v4())
}

pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_millis()).unwrap()
}

pub(crate) fn expect_reserved(outcome: ReserveOutcome) -> Reservation {
    match outcome {
        ReserveOutcome::Reserved(reservation) => reservation,
        other => panic!("expected a reservation, got {other:?}"),
    }
}

/// The answer for a sale of tea that has none left.
pub(crate) fn sold_out() -> ReserveOutcome {
    ReserveOutcome::SoldOut { sku: TEA.to_owned(), remaining: 0 }
}

/// Invariants I1 and I2.
pub(crate) fn assert_balanced(item: &ItemCounters) {
    assert_eq!(item.preloaded, item.remaining + item.reserved + item.sold, "{item:?}");
}
