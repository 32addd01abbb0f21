//! `accept`: the peak of purchases that are answered 2xx, each durable before its answer.

use std::rc::Rc;

use rocketmart_harness::stack::Component;
use rocketmart_loadtest::generator::{Outcome, Pace, Promise};

use super::super::figures::{Figure, Reach};
use super::super::shop::{Sale, Shop, Terms};
use super::super::shoppers::{Buying, Wish};
use super::super::tokens::Buyers;
use super::{Answer, Bench, LIMIT, Lengths, cost, load, make_known, metered, note_run, per_second};
use anyhow::Result;

/// Nobody pays in these runs; reservations are given back soon after.
pub(super) const UNPAID: Terms = Terms { units: 5_000_000, per_buyer_limit: 1_000_000, payment_seconds: 5 };

const WHAT: &str = "Purchases answered 2xx per second, durable before the answer: one hot SKU, 256 shoppers at \
                    once, real tokens, keep-alive HTTP, closed loop.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let shop = bench.fresh_shop()?;
    let buyers = Rc::new(shop.buyers(lengths.buyers)?);
    let noop_address = shop.start_helper("serve-noop", &[])?;
    shop.rest_the_pipeline()?;
    let order_address = shop.address(Component::Order)?;

    let mut noop = Figure::new(LIMIT, "1/s");
    let mut cold_noop = Figure::new("no-op, tokens never seen", "1/s");
    let mut ours = Figure::new("accept", "1/s")
        .against(LIMIT)
        .reaching(Reach::OfLimit(0.70))
        .reaching(Reach::AtLeast(25_000.0));
    let mut cold = Figure::new("accept, tokens never seen", "1/s").against("no-op, tokens never seen");
    let mut notes = Vec::new();
    let mut sales: Vec<(Sale, Rc<Buyers>, Vec<Promise>)> = Vec::new();

    make_known(noop_address, &buyers)?;
    make_known(order_address, &buyers)?;
    for _ in 0..lengths.runs {
        let limit = Rc::new(Wish::new(uuid::Uuid::now_v7(), "B-1", &buyers));
        let at_peak = load(noop_address, Pace::Closed, &lengths, 0);
        let (outcome, usage) = metered(shop, &at_peak, || Buying::new(&limit))?;
        note_run(&mut noop, per_second(outcome.succeeded(), &outcome), &outcome, &usage);

        let (sale, outcome, usage) = buy(shop, &buyers, Pace::Closed, &lengths)?;
        let accepted = per_second(outcome.succeeded(), &outcome);
        note_run(&mut ours, accepted, &outcome, &usage);
        notes = vec![cost("one purchase", &usage, accepted * outcome.seconds)];
        sales.push((sale, Rc::clone(&buyers), outcome.promises));
    }
    for _ in 0..lengths.runs {
        let strangers = Rc::new(shop.buyers(lengths.buyers)?);
        let short = Lengths { warm_up: lengths.warm_up / 4, run: lengths.run / 4, ..lengths };
        let limit = Rc::new(Wish::new(uuid::Uuid::now_v7(), "B-1", &strangers));
        let (outcome, usage) =
            metered(shop, &load(noop_address, Pace::Closed, &short, 0), || Buying::new(&limit))?;
        note_run(&mut cold_noop, per_second(outcome.succeeded(), &outcome), &outcome, &usage);
        let (sale, outcome, usage) = buy(shop, &strangers, Pace::Closed, &short)?;
        note_run(&mut cold, per_second(outcome.succeeded(), &outcome), &outcome, &usage);
        sales.push((sale, strangers, outcome.promises));
    }
    shop.stop_helper("serve-noop");
    shop.catch_up()?;
    audit(shop, &sales)?;

    // The same, with everything behind it at work on the same two cores.
    let mut beside = Figure::new("accept, pipeline at work", "1/s").against(LIMIT);
    for _ in 0..lengths.runs {
        let (sale, outcome, usage) = buy(shop, &buyers, Pace::Closed, &lengths)?;
        note_run(&mut beside, per_second(outcome.succeeded(), &outcome), &outcome, &usage);
        audit(shop, &[(sale, Rc::clone(&buyers), outcome.promises)])?;
    }
    bench.peak = Some(ours.median());
    notes.push(format!(
        "{} buyers whose tokens the service has seen once before, as after opening a page; each buys several times. \
         With tokens never seen, every request pays for an Ed25519 verification.",
        lengths.buyers
    ));
    notes.push(
        "The relay rests while `accept` is measured and carries everything on afterwards, before the invariants \
         are checked; `pipeline at work` is with relay, Kafka, workers and PostgreSQL on the same two cores."
            .to_owned(),
    );
    Ok((WHAT, vec![noop, ours, beside, cold_noop, cold], notes))
}

/// One run on its own sale.
pub(super) fn buy(
    shop: &Shop,
    buyers: &Rc<Buyers>,
    pace: Pace,
    lengths: &Lengths,
) -> Result<(Sale, Outcome, super::Usage)> {
    let sale = shop.new_sale(UNPAID)?;
    let wish = Rc::new(Wish::new(sale.id, &sale.skus[0], buyers));
    let (outcome, usage) =
        metered(shop, &load(shop.address(Component::Order)?, pace, lengths, 0), || Buying::new(&wish))?;
    Ok((sale, outcome, usage))
}

/// Proves the invariants of several sales.
pub(super) fn audit(shop: &Shop, sales: &[(Sale, Rc<Buyers>, Vec<Promise>)]) -> Result<()> {
    let sales: Vec<_> =
        sales.iter().map(|(sale, buyers, promises)| (sale, &**buyers, promises.as_slice())).collect();
    shop.audit(&sales)
}
