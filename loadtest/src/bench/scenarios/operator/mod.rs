//! `operator`: what a thousand sales in fifty shops cost the operator.
//!
//! ```text
//!   world.rs    API server and etcd, the objects people declare, Deployments that become ready
//!   process.rs  the operator as the chart runs it, and what its /metrics say
//! ```
//! The API server and etcd are real, as are Kafka, Redis, PostgreSQL and the order service; all shops share
//! these. There are no pods: this process writes the status of Deployments, as a Deployment controller and
//! kubelets would.

mod process;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rocketmart_harness::stack::{Component, Recipe, Stack};

use self::process::{Moment, Operator};
use self::world::{SKU, World};
use super::super::figures::{Figure, Reach};
use super::super::meter::Meter;
use super::{Answer, Bench};

const WHAT: &str = "1,000 FlashSales in 50 Shops in 5 namespaces, each Shop with two autoscaled workers, against a \
                    real API server with etcd: the operator's process from a first start (everything is declared and \
                    nothing is made), over a restart, to a quiet minute in which one sale in twenty is open. Durations, \
                    requests and memory are what its own /metrics say.";
/// The memory limit in the chart.
const MEMORY_LIMIT_MIB: f64 = 256.0;
const LIMIT: Duration = Duration::from_mins(15);
/// One sale in this many opens.
const OPEN: usize = 20;

/// How much there is.
#[derive(Debug, Clone, Copy)]
struct Size {
    namespaces: usize,
    shops: usize,
    sales: usize,
    quiet: Duration,
}

const FULL: Size = Size { namespaces: 5, shops: 50, sales: 1_000, quiet: Duration::from_mins(1) };
const QUICK: Size = Size { namespaces: 2, shops: 2, sales: 20, quiet: Duration::from_secs(3) };

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let size = if bench.lengths.quick { QUICK } else { FULL };
    let program = bench.programs.operator.clone().context("--operator names no program")?;
    // The shop of the previous scenarios would take part of the machine.
    bench.shop = None;
    let (world, stack) = std::thread::scope(|scope| {
        let world = scope.spawn(World::start);
        // The order service is not ready without the member service's keys.
        let wanted = [Component::Member, Component::Order];
        let stack = Recipe::new(&bench.programs.rocketmart).only(&wanted).start();
        (world.join(), stack)
    });
    let (world, stack) = (world.map_err(|_| anyhow::anyhow!("the API server's thread ended"))??, stack?);
    supply(&world, &stack, size)?;
    world.declare(size, &stack.backing.kafka.brokers())?;

    let mut figures = Figures::default();
    let operator = Operator::start(&program, &world.kubeconfig(), &stack.url(Component::Order))?;
    let began = Instant::now();
    world.until("every Shop and FlashSale is observed", LIMIT, World::all_are_observed)?;
    figures.seconds("first start: all observed", began);
    world.until("every Shop is ready", LIMIT, World::all_shops_are_ready)?;
    figures.seconds("first start: all Shops made and ready", began);
    figures.work("first start", &Moment::default(), &operator.moment()?);
    operator.stop()?;

    let operator = Operator::start(&program, &world.kubeconfig(), &stack.url(Component::Order))?;
    let began = Instant::now();
    operator.until_reconciled(size.shops, size.sales, LIMIT)?;
    figures.seconds("restart: all reconciled again", began);
    let restarted = operator.moment()?;
    figures.work("restart", &Moment::default(), &restarted);
    figures.reconciles("restart", &Moment::default(), &restarted);

    let opened = world.open(size, OPEN)?;
    world.until("the sales are open", LIMIT, |world| world.open_sales() == opened)?;
    // By now, everything that the opening set off is over.
    std::thread::sleep(Duration::from_secs(2));
    let meter = Meter::new(vec![
        ("operator".to_owned(), operator.pid()),
        ("order".to_owned(), stack.pid(Component::Order, 0).context("the order service ended")?),
    ]);
    let (before, used) = (operator.moment()?, meter.read()?);
    std::thread::sleep(size.quiet);
    let (after, used) = (operator.moment()?, meter.read()?.since(&used));
    figures.reconciles("quiet", &before, &after);
    figures.work("quiet", &before, &after);
    let mut writes = Figure::new("quiet: writes in a minute", "")
        .reaching(Reach::AtMost(0.0))
        .of(after.writes - before.writes);
    writes.cores = used.cores();
    writes.cores.retain(|name, _| name == "operator" || name == "order");
    figures.all.push(writes);
    figures.all.push(
        Figure::new("resident memory", "MiB")
            .reaching(Reach::AtMost(MEMORY_LIMIT_MIB))
            .of(after.resident_bytes / 1024.0 / 1024.0),
    );
    for figure in &figures.all {
        println!("    {:<44}{:>10.2} {}", figure.label, figure.median(), figure.unit);
    }
    ensure!(world.open_sales() == opened, "sales did not stay open");
    operator.stop()?;
    let notes = vec![
        "Restart and first start count until the operator has looked at everything once; in between it gave its Lease \
         back, so nobody waits for that to run out."
            .to_owned(),
        format!(
            "Errors of reconciles: {:.0} in all. Renewals of the Lease ({:.0} in that time) are not counted as writes.",
            after.errors,
            after.renewals - before.renewals
        ),
        "An open sale is looked at every second, a scheduled one every minute, a Shop every minute.".to_owned(),
    ];
    Ok((WHAT, figures.all, notes))
}

/// Supplies the SKU that all sales sell, as the order service would get it from the catalog.
fn supply(world: &World, stack: &Stack, size: Size) -> Result<()> {
    let units = i64::try_from(size.sales)? * world::UNITS * 2;
    world.block_on(async {
        let pool = sqlx::PgPool::connect(&stack.database_url("order")).await?;
        sqlx::query(
            "WITH sku AS (
                 INSERT INTO skus (sku, product_id, seller_id, title, state, price, currency, supplied, version)
                 VALUES ($1, gen_random_uuid(), gen_random_uuid(), 'Rocket', 'published', $2, 'KRW', $3, 1)
                 RETURNING sku
             )
             INSERT INTO stock (sku, on_hand) SELECT sku, $3 FROM sku",
        )
        .bind(SKU)
        .bind(world::PRICE)
        .bind(units)
        .execute(&pool)
        .await?;
        pool.close().await;
        Ok(())
    })
}

#[derive(Default)]
struct Figures {
    all: Vec<Figure>,
}

impl Figures {
    fn seconds(&mut self, label: &str, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        println!("    {label:<44}{seconds:>10.2} s");
        self.all.push(Figure::new(label, "s").of(seconds));
    }

    /// The requests to the API server between two moments.
    fn work(&mut self, when: &str, before: &Moment, after: &Moment) {
        let (requests, reconciles) =
            (after.requests - before.requests, after.all_reconciles() - before.all_reconciles());
        self.all.push(
            Figure::new(format!("{when}: API requests per reconcile"), "").of(requests / reconciles.max(1.0)),
        );
    }

    /// How long reconciles took between two moments.
    fn reconciles(&mut self, when: &str, before: &Moment, after: &Moment) {
        for (controller, what) in [("flash-sale", "a sale"), ("shop", "a Shop")] {
            let times = after.times(controller).since(&before.times(controller));
            if times.count() == 0.0 {
                continue;
            }
            let mut figure = Figure::new(format!("{when}: p99 reconcile of {what}"), "ms");
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                figure.latency_ms.insert(name.to_owned(), times.quantile(quantile) * 1e3);
            }
            figure.runs.push(times.quantile(0.99) * 1e3);
            self.all.push(figure);
        }
    }
}
