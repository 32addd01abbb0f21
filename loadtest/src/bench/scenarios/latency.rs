//! `latency`: how long a purchase takes at a given rate, from the moment it was meant to be sent.

use std::rc::Rc;
use std::time::Duration;

use rocketmart_harness::stack::Component;
use rocketmart_loadtest::generator::{Pace, Promise};

use super::super::figures::{Figure, Reach};
use super::super::shop::Sale;
use super::super::shoppers::{Buying, Wish};
use super::super::tokens::Buyers;
use super::accept::{audit, buy};
use super::{Answer, Bench, Lengths, load, make_known, metered, note_run, per_second};

/// A million people who buy once within 10 minutes.
const ASKED_FOR: f64 = 1_666.0;
const WHAT: &str = "p99 of a purchase in milliseconds, open loop, from the intended send time: at the 1,666/s asked for \
                    (with relay, Kafka, workers and PostgreSQL at work), and at 50, 70 and 90 % of `accept`.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let known_peak = bench.peak;
    let shop = bench.shop()?;
    let buyers = Rc::new(shop.buyers(lengths.buyers)?);
    let noop_address = shop.start_helper("serve-noop", &[])?;
    make_known(noop_address, &buyers)?;
    make_known(shop.address(Component::Order)?, &buyers)?;
    let mut sales: Vec<(Sale, Rc<Buyers>, Vec<Promise>)> = Vec::new();
    let mut figures = Vec::new();
    let short = Lengths { warm_up: lengths.warm_up / 2, run: lengths.run * 5 / 8, ..lengths };

    let mut limit = Figure::new("no-op at 1,666/s", "ms p99");
    let mut ours = Figure::new("purchase at 1,666/s", "ms p99").reaching(Reach::AtMost(20.0));
    let pace = Pace::Open { per_second: ASKED_FOR };
    for _ in 0..lengths.runs {
        let wish = Rc::new(Wish::new(uuid::Uuid::now_v7(), "B-1", &buyers));
        let (outcome, usage) = metered(shop, &load(noop_address, pace, &lengths, 0), || Buying::new(&wish))?;
        note_run(&mut limit, outcome.latency_ms(0.99), &outcome, &usage);
        let (sale, outcome, usage) = buy(shop, &buyers, pace, &lengths)?;
        note_run(&mut ours, outcome.latency_ms(0.99), &outcome, &usage);
        sales.push((sale, Rc::clone(&buyers), outcome.promises));
    }
    figures.extend([limit, ours]);

    shop.rest_the_pipeline()?;
    let peak = if let Some(peak) = known_peak {
        peak
    } else {
        let (sale, outcome, _) = buy(shop, &buyers, Pace::Closed, &short)?;
        let peak = per_second(outcome.succeeded(), &outcome);
        sales.push((sale, Rc::clone(&buyers), outcome.promises));
        peak
    };
    for percent in [50_u32, 70, 90] {
        let pace = Pace::Open { per_second: peak * f64::from(percent) / 100.0 };
        let mut limit = Figure::new(format!("no-op at {percent} % of accept"), "ms p99");
        let mut ours = Figure::new(format!("purchase at {percent} % of accept"), "ms p99");
        for _ in 0..lengths.runs {
            let wish = Rc::new(Wish::new(uuid::Uuid::now_v7(), "B-1", &buyers));
            let (outcome, usage) =
                metered(shop, &load(noop_address, pace, &short, 0), || Buying::new(&wish))?;
            note_run(&mut limit, outcome.latency_ms(0.99), &outcome, &usage);
            let (sale, outcome, usage) = buy(shop, &buyers, pace, &short)?;
            note_run(&mut ours, outcome.latency_ms(0.99), &outcome, &usage);
            sales.push((sale, Rc::clone(&buyers), outcome.promises));
        }
        figures.extend([limit, ours]);
    }
    shop.stop_helper("serve-noop");
    shop.catch_up()?;
    audit(shop, &sales)?;
    let notes = vec![
        format!("`accept` was {peak:.0}/s. At its shares the relay rests, as in `accept`."),
        format!(
            "Send times are kept to a timer of {} ms; what that delays counts as latency.",
            Duration::from_millis(1).as_millis()
        ),
    ];
    Ok((WHAT, figures, notes))
}
