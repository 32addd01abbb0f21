//! How many reservations one Redis carries with `appendfsync always`, by batch size and through the
//! coalescer, and what a refusal costs. `cargo run --release -p rocketmart-stock --example throughput`

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rocketmart_harness::backing::Redis;
use rocketmart_stock::{
    BuyerId, Coalescer, CoalescerLimits, ItemSpec, Line, OrderId, Reserve, ReserveOutcome, SaleId, SaleSpec,
    SaleState, Stock,
};
use tokio::task::JoinSet;
use uuid::Uuid;

const PER_RUN: usize = 64_000;
const CALLERS: usize = 256;

#[tokio::main]
async fn main() -> Result<()> {
    let redis = Redis::start()?;
    // A busy disk may be slow. The figures should show that, and not end in a time-out.
    let stock = Stock::with_response_timeout(&redis.url(), Duration::from_secs(30))?;
    println!("reservations/s, one caller, one call at a time:");
    for batch in [1, 16, 64, 256] {
        let sale = open_sale(&stock, u32::MAX).await?;
        let runs = if batch == 1 { PER_RUN / 16 } else { PER_RUN };
        let batches: Vec<Vec<Reserve>> =
            (0..runs / batch).map(|_| (0..batch).map(|_| wish(sale)).collect()).collect();
        let started = Instant::now();
        for wishes in &batches {
            stock.reserve(sale, wishes).await?;
        }
        report(&format!("batches of {batch}"), batches.len() * batch, started);
        let balanced = stock.counters(sale).await?.context("loaded")?;
        anyhow::ensure!(balanced.items[0].reserved as usize == batches.len() * batch, "all were reserved");
    }

    println!("through the coalescer, {CALLERS} callers:");
    let sale = open_sale(&stock, u32::MAX).await?;
    rush("accepted", &stock, sale, CoalescerLimits::default()).await?;
    let sale = open_sale(&stock, 0).await?;
    let unmarked = CoalescerLimits { sold_out_for: Duration::ZERO, ..CoalescerLimits::default() };
    rush("sold out, asking each time", &stock, sale, unmarked).await?;
    rush("sold out, marked", &stock, sale, CoalescerLimits::default()).await?;
    Ok(())
}

async fn rush(name: &str, stock: &Stock, sale: SaleId, limits: CoalescerLimits) -> Result<()> {
    let coalescer = Coalescer::new(stock.clone(), limits);
    let calls_before = stock.counters(sale).await?.context("loaded")?.stream_length;
    let mut callers = JoinSet::new();
    let started = Instant::now();
    for _ in 0..CALLERS {
        let coalescer = coalescer.clone();
        callers.spawn(async move {
            let mut accepted = 0_usize;
            for _ in 0..PER_RUN / CALLERS {
                accepted += usize::from(matches!(
                    coalescer.reserve(wish(sale)).await,
                    Ok(ReserveOutcome::Reserved(_))
                ));
            }
            accepted
        });
    }
    let accepted: usize = callers.join_all().await.into_iter().sum();
    report(name, PER_RUN, started);
    let calls = stock.counters(sale).await?.context("loaded")?.stream_length - calls_before;
    if let Some(size) = (accepted as u64).checked_div(calls) {
        println!("    {accepted} accepted, {size} on average in a call");
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests")]
fn report(name: &str, count: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("  {name:28} {:>9.0}/s", count as f64 / seconds);
}

async fn open_sale(stock: &Stock, units: u32) -> Result<SaleId> {
    let id = SaleId(Uuid::new_v4());
    let item = ItemSpec { sku: "tea".to_owned(), units, price: 1_990, per_buyer_limit: Some(1) };
    let spec = SaleSpec {
        id,
        name: "throughput".to_owned(),
        fence: 1,
        currency: "EUR".to_owned(),
        opens_at_ms: 0,
        closes_at_ms: None,
        payment_seconds: 600,
        items: vec![item],
    };
    stock.load(&spec).await?;
    stock.set_state(id, 1, SaleState::Ready).await?;
    Ok(id)
}

fn wish(sale: SaleId) -> Reserve {
    Reserve {
        sale,
        order: OrderId(Uuid::new_v4()),
        buyer: BuyerId(Uuid::new_v4()),
        lines: vec![Line::new("tea", 1)],
        key: Uuid::new_v4().to_string(),
        request_hash: "b5bb9d8014a0f9b1d61e21e796d78dcc".to_owned(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}
