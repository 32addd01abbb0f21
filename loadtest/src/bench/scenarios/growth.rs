//! `growth`: whether a purchase costs more when there is more of everything.
//!
//! We compare processor time of the order service and of Redis per purchase with its cancellation, so that a
//! sale of ten units can be measured as long as one of a million. On a machine whose speed varies, wall-clock
//! time says less.

use std::rc::Rc;

use anyhow::Result;
use rocketmart_harness::stack::Component;
use rocketmart_loadtest::client::Client;
use rocketmart_loadtest::generator::{Load, Pace, Promise};
use uuid::Uuid;

use super::super::figures::{Figure, Reach};
use super::super::shop::{Sale, Shop, Terms};
use super::super::shoppers::{Following, Wish};
use super::super::tokens::Buyers;
use super::{Answer, Bench, Lengths, load, make_known, metered, metric, metrics};

/// As many shoppers as the smallest sale has units, so that it never sells out.
const SHOPPERS: usize = 10;
const FLAT: f64 = 1.10;
const WHAT: &str = "Processor time (order service and Redis) of one purchase and its cancel, in µs, 10 shoppers at once: \
                    for more units, SKUs, sales and known buyers. Flat means at most 10 % above the base.";

/// One way in which a shop can be large.
struct Size {
    label: &'static str,
    units: u32,
    /// How many SKUs each sale has.
    skus: usize,
    sales: usize,
    known_buyers: usize,
}

const fn size(label: &'static str, units: u32, skus: usize, sales: usize, known_buyers: usize) -> Size {
    Size { label, units, skus, sales, known_buyers }
}

/// Each group is measured in turn with its first size, the base, so that they see the same minutes. Many
/// sales are a group of their own, because their audits take longer.
const GROUPS: [&[Size]; 2] = [
    &[
        size("10³ units, 1 SKU, 1 sale", 1_000, 1, 1, 1_000),
        size("10 units", 10, 1, 1, 1_000),
        size("10⁶ units", 1_000_000, 1, 1, 1_000),
        size("100 SKUs", 1_000, 100, 1, 1_000),
        size("10⁵ known buyers", 1_000, 1, 1, 100_000),
        size("10⁶ known buyers", 1_000, 1, 1, 1_000_000),
    ],
    &[
        size("1 sale, beside many", 1_000, 1, 1, 1_000),
        size("1,000 SKUs in 10 sales", 1_000, 100, 10, 1_000),
        size("50 sales", 1_000, 1, 50, 1_000),
    ],
];

/// The sales of one size, everything promised in them so far, and what it cost.
struct Measured {
    figure: Figure,
    sales: Vec<Sale>,
    promises: Vec<Promise>,
    /// The number of the next act.
    next: u64,
    carried: Carried,
}

impl Measured {
    /// How many purchases shared one call to Redis.
    fn shared(&self) -> f64 {
        self.carried.purchases / self.carried.calls.max(1.0)
    }
}

/// What calls to Redis carried.
#[derive(Clone, Copy, Default)]
struct Carried {
    purchases: f64,
    calls: f64,
}

impl Carried {
    fn so_far(shop: &Shop) -> Result<Self> {
        let admin = Client::new(&shop.admin_url(Component::Order), None)?;
        let text = shop.block_on(metrics(&admin))?;
        let total =
            |of: &str| metric(&text, &format!("rocketmart_stock_batch_size_{of}{{kind=\"reserve\"}}"));
        Ok(Self { purchases: total("sum"), calls: total("count") })
    }
}

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let shop = bench.fresh_shop()?;
    let buyers = Rc::new(shop.buyers(1_000.min(lengths.buyers))?);
    make_known(shop.address(Component::Order)?, &buyers)?;
    let mut figures = Vec::new();
    let mut shared = Vec::new();
    for group in GROUPS {
        let measured = measure_in_turn(shop, group, &buyers, &lengths)?;
        shared.extend(measured.iter().map(|each| format!("{} {:.1}", each.figure.label, each.shared())));
        figures.extend(against_the_first(measured.into_iter().map(|each| each.figure).collect()));
    }
    let notes = vec![
        "A sale holds at most 100 SKUs; 1,000 are 10 sales. Shoppers go through all SKUs and sales in turn.".to_owned(),
        "Known buyers are put into Redis beforehand as the engine would leave them: a unit held and a key used. \
         Sizes are measured in turn, again and again, so that a slower minute of the machine falls on each of them."
            .to_owned(),
        format!(
            "Shoppers of one sale share calls to Redis, those of many have nobody to share with. Purchases in a call: {}.",
            shared.join(", ")
        ),
    ];
    Ok((WHAT, figures, notes))
}

/// Makes the first figure the limit of the others.
fn against_the_first(mut figures: Vec<Figure>) -> Vec<Figure> {
    let Some((base, others)) = figures.split_first_mut() else { return figures };
    for figure in others {
        figure.reach.push(Reach::AtMost(base.median() * FLAT));
        figure.limit = Some(base.label.clone());
    }
    figures
}

/// Measures these sizes one after another, several times.
fn measure_in_turn(
    shop: &mut Shop,
    group: &[Size],
    buyers: &Rc<Buyers>,
    lengths: &Lengths,
) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for size in group {
        let (sales, figure) = (shop.sales_of(size, lengths.quick)?, Figure::new(size.label, "µs"));
        all.push(Measured { figure, sales, promises: Vec::new(), next: 0, carried: Carried::default() });
    }
    shop.rest_the_pipeline()?;
    // More and shorter runs than elsewhere: we compare sizes, so each has to see the same minutes.
    for _ in 0..lengths.runs * 3 {
        for measured in &mut all {
            let cost = run_once(shop, measured, buyers, lengths)?;
            println!("    {:<28}{cost:>12.1} µs", measured.figure.label);
            measured.figure.runs.push(cost);
        }
    }
    shop.catch_up()?;
    audit(shop, &all, buyers)?;
    Ok(all)
}

fn run_once(shop: &Shop, measured: &mut Measured, buyers: &Rc<Buyers>, lengths: &Lengths) -> Result<f64> {
    let mut wish = Wish::new(Uuid::nil(), "-", buyers);
    let items = |sale: &Sale| sale.skus.iter().map(|sku| (sale.id, sku.clone())).collect::<Vec<_>>();
    wish.items = measured.sales.iter().flat_map(items).collect();
    let wish = Rc::new(wish);
    let shoppers = Load {
        connections: SHOPPERS,
        warm_up: lengths.warm_up / 4,
        length: lengths.run / 6,
        ..load(shop.address(Component::Order)?, Pace::Closed, lengths, measured.next)
    };
    let before = Carried::so_far(shop)?;
    let (outcome, usage) = metered(shop, &shoppers, || Following::cancelling(&wish))?;
    let after = Carried::so_far(shop)?;
    measured.carried.purchases += after.purchases - before.purchases;
    measured.carried.calls += after.calls - before.calls;
    anyhow::ensure!(
        outcome.unknown == 0 && outcome.succeeded() == outcome.answers.values().sum::<u64>(),
        "not every purchase could be made and cancelled: {:?}",
        outcome.answers
    );
    let used = usage.cpu_seconds["order"] + usage.cpu_seconds["redis"];
    #[expect(clippy::cast_precision_loss, reason = "a number of purchases is far below 2^52")]
    let cost = used * 1e6 / outcome.succeeded() as f64;
    measured.next = outcome.next;
    measured.promises.extend(outcome.promises);
    Ok(cost)
}

/// Audits every sale with the promises made in it: act `n` went to item `n` modulo the number of items of its
/// size.
fn audit(shop: &Shop, all: &[Measured], buyers: &Buyers) -> Result<()> {
    let mut audited: Vec<(&Sale, Vec<Promise>)> = Vec::new();
    for measured in all {
        let total: usize = measured.sales.iter().map(|sale| sale.skus.len()).sum();
        let mut first = 0;
        for sale in &measured.sales {
            let items = first..first + sale.skus.len() as u64;
            let own = |promise: &&Promise| items.contains(&(promise.n % total as u64));
            audited.push((sale, measured.promises.iter().filter(own).copied().collect()));
            first = items.end;
        }
    }
    let audited: Vec<_> =
        audited.iter().map(|(sale, promises)| (*sale, buyers, promises.as_slice())).collect();
    shop.audit(&audited)
}

impl Shop {
    fn sales_of(&self, size: &Size, quick: bool) -> Result<Vec<Sale>> {
        let skus = self.publish(size.skus * size.sales, u64::from(size.units))?;
        let terms = Terms { units: size.units, payment_seconds: 600, ..Terms::default() };
        let sales: Vec<Sale> =
            skus.chunks(size.skus).map(|skus| self.load(skus, terms)).collect::<Result<_>>()?;
        let known = if quick { size.known_buyers.min(1_000) } else { size.known_buyers };
        self.block_on(make_buyers_known(&self.redis_url(), sales[0].id, known))?;
        Ok(sales)
    }
}

/// Leaves what the engine keeps about earlier buyers: units held (of a SKU not sold here) and a used key.
async fn make_buyers_known(redis: &str, sale: Uuid, count: usize) -> Result<()> {
    const AT_ONCE: usize = 5_000;
    let mut connection = redis::Client::open(redis)?.get_multiplexed_async_connection().await?;
    let buyers: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    for chunk in buyers.chunks(AT_ONCE) {
        let mut held = redis::cmd("HSET");
        let mut keys = redis::cmd("HSET");
        held.arg(format!("rm:{{{sale}}}:held"));
        keys.arg(format!("rm:{{{sale}}}:keys"));
        for buyer in chunk {
            held.arg(format!("{buyer}|earlier")).arg("1");
            keys.arg(format!("{buyer}|{buyer}")).arg(format!("{buyer}|0123456789abcdef0123456789abcdef"));
        }
        redis::pipe()
            .add_command(held)
            .ignore()
            .add_command(keys)
            .ignore()
            .exec_async(&mut connection)
            .await?;
    }
    Ok(())
}
