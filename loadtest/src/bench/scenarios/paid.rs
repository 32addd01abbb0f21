//! `paid`: purchases at a steady state, carried all the way: accepted, paid, persisted, with a shipment.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rocketmart_harness::stack::Component;
use rocketmart_loadtest::client::Client;
use rocketmart_loadtest::generator::{Load, Pace, run};

use super::super::figures::{Figure, Reach};
use super::super::shop::{Shop, Terms};
use super::super::shoppers::{Following, Wish};
use super::super::straight;
use super::{Answer, Bench, cost, load, make_known, metric, metrics, note_run};

/// Shoppers at once: enough to keep the pipeline busy, few enough to leave it the processor.
const SHOPPERS: usize = 32;
/// Shoppers wait when this many orders are on their way, so that we measure orders that are carried to the
/// end.
const BACKLOG: f64 = 6_000.0;
const LOOK: Duration = Duration::from_millis(100);
/// How long the last orders of a run may take to ship before the books are audited.
const SHIPPED_LIMIT: Duration = Duration::from_mins(2);
const STRAIGHT: &str = "inserts straight into PostgreSQL";

const WHAT: &str = "Purchases per second carried to paid, persisted in PostgreSQL, with shipment created, in a steady \
                    state. Refusals do not count.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let shop = bench.fresh_shop()?;
    let buyers = Rc::new(shop.buyers(lengths.buyers)?);
    shop.equip(&buyers)?;
    make_known(shop.address(Component::Order)?, &buyers)?;

    let mut limit = Figure::new(STRAIGHT, "1/s");
    for _ in 0..lengths.runs {
        let rate = shop.block_on(straight::insert(
            &shop.database_url("order"),
            &shop.database_url("payment"),
            &shop.database_url("delivery"),
            lengths.run,
        ))?;
        println!("    {STRAIGHT:<28}{rate:>12.0} 1/s");
        limit.runs.push(rate);
    }

    let mut ours = Figure::new("paid", "1/s")
        .against(STRAIGHT)
        .reaching(Reach::AtLeast(1_666.0))
        .reaching(Reach::AtLeast(5_000.0));
    let mut notes = Vec::new();
    for _ in 0..lengths.runs {
        let sale = shop.new_sale(Terms::default())?;
        let wish = Rc::new(Wish::new(sale.id, &sale.skus[0], &buyers));
        let hold = Arc::new(AtomicBool::new(false));
        let warm_up = lengths.steady / 6;
        let steady = Load {
            connections: SHOPPERS,
            warm_up,
            length: lengths.steady,
            hold: Arc::clone(&hold),
            ..load(shop.address(Component::Order)?, Pace::Closed, &lengths, 0)
        };
        let watch = Watch::new(shop)?;
        let guard = watch.keep_steady(hold);
        let meter = shop.meter();
        let mut ends = Vec::new();
        let outcome = run(&steady, || Following::paying(&wish), || ends.push((watch.read(), meter.read())))?;
        guard.store(true, Ordering::Relaxed);
        let mut ends = ends.into_iter();
        let (Some((before, from)), Some((after, to))) = (ends.next(), ends.next()) else {
            anyhow::bail!("a load has two ends")
        };
        let (before, after, usage) = (before?, after?, to?.since(&from?));
        let shipped = after.shipments - before.shipments;
        watch.wait_for_parcels()?;
        note_run(&mut ours, shipped / outcome.seconds, &outcome, &usage);
        notes = vec![
            cost("one paid purchase", &usage, shipped),
            format!(
                "Orders on their way at the beginning of a run {:.0}, at its end {:.0}; shoppers wait at {BACKLOG:.0}.",
                before.backlog(),
                after.backlog()
            ),
        ];
        ensure!(outcome.unknown == 0, "{} requests had no answer", outcome.unknown);
        let promised = outcome.promises.len();
        shop.audit(&[(&sale, &*buyers, &outcome.promises)])?;
        let stored = shop.block_on(paid_orders(&shop.database_url("order"), sale.id))?;
        ensure!(stored == promised as u64, "{promised} purchases were promised and {stored} are paid");
    }
    notes.push(format!(
        "Each run is {} s after {} s of warm-up; every purchase of a run ended paid, with one charge and one shipment. \
         The payment provider answers at once and sends no call-backs; parcels take no further steps.",
        lengths.steady.as_secs(),
        (lengths.steady / 6).as_secs()
    ));
    Ok((WHAT, vec![limit, ours], notes))
}

async fn paid_orders(database: &str, sale: uuid::Uuid) -> Result<u64> {
    let pool = sqlx::PgPool::connect(database).await?;
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders WHERE sale_id = $1 AND paid_at IS NOT NULL")
            .bind(sale)
            .fetch_one(&pool)
            .await?;
    Ok(u64::try_from(count)?)
}

/// How far the pipeline has come, from the services' counters.
#[derive(Clone)]
struct Watch {
    order: String,
    delivery: String,
    /// The backlog at the beginning: what earlier runs left unpaid never ships.
    left: f64,
}

#[derive(Clone, Copy)]
struct Progress {
    accepted: f64,
    shipments: f64,
}

impl Progress {
    fn backlog(self) -> f64 {
        self.accepted - self.shipments
    }
}

impl Watch {
    fn new(shop: &Shop) -> Result<Self> {
        let (order, delivery) = (shop.admin_url(Component::Order), shop.admin_url(Component::DeliveryWorker));
        let watch = Self { order, delivery, left: 0.0 };
        let left = watch.read()?.backlog();
        Ok(Self { left, ..watch })
    }

    /// Blocking; may be called from any thread.
    fn read(&self) -> Result<Progress> {
        let (order, delivery) = (self.order.clone(), self.delivery.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let accepted = counter(&order, "order_purchases_total{outcome=\"reserved\"}").await?;
                let shipments = counter(&delivery, "delivery_shipments_total").await?;
                Ok(Progress { accepted, shipments })
            })
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that reads counters panicked"))?
    }

    /// Waits until nothing is on its way any more. A parcel is the last thing made from an order, and nothing
    /// else waits for it.
    fn wait_for_parcels(&self) -> Result<()> {
        let deadline = Instant::now() + SHIPPED_LIMIT;
        loop {
            let under_way = self.read()?.backlog() - self.left;
            if under_way <= 0.0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{under_way:.0} orders are not shipped");
            std::thread::sleep(LOOK);
        }
    }

    /// Holds shoppers back while too much is on its way, until the returned flag is set.
    fn keep_steady(&self, hold: Arc<AtomicBool>) -> Arc<AtomicBool> {
        let over = Arc::new(AtomicBool::new(false));
        let (watch, done) = (self.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                if let Ok(progress) = watch.read() {
                    hold.store(progress.backlog() - watch.left > BACKLOG, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        });
        over
    }
}

async fn counter(admin: &str, name: &str) -> Result<f64> {
    Ok(metric(&metrics(&Client::new(admin, None)?).await?, name))
}
