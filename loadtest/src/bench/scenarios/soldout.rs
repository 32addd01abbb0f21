//! `soldout`: how many buyers per second learn that nothing is left.

use std::rc::Rc;
use std::time::Duration;

use rocketmart_harness::stack::Component;
use rocketmart_loadtest::generator::{Load, Pace, run};

use super::super::figures::{Figure, Reach};
use super::super::shop::Terms;
use super::super::shoppers::{Buying, Wish};
use super::{Answer, Bench, LIMIT, cancel, cost, load, make_known, metered, note_run, per_second};

const UNITS: u32 = 1_000;
const WHAT: &str = "Refusals `sold-out` per second after the last unit, 256 shoppers at once, closed loop. A refusal \
                    counts only if it is one; repeated requests for units that were sold would still find them.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let shop = bench.shop()?;
    let buyers = Rc::new(shop.buyers(lengths.buyers)?);
    let noop_address = shop.start_helper("serve-noop", &[])?;
    let address = shop.address(Component::Order)?;
    make_known(noop_address, &buyers)?;
    make_known(address, &buyers)?;

    let sale = shop.new_sale(Terms { units: UNITS, ..Terms::default() })?;
    let wish = Rc::new(Wish::new(sale.id, &sale.skus[0], &buyers));
    let first_come = Load {
        acts: Some(2 * u64::from(UNITS)),
        warm_up: Duration::ZERO,
        length: Duration::from_mins(1),
        ..load(address, Pace::Closed, &lengths, 0)
    };
    let mut promises = run(&first_come, || Buying::new(&wish), || {})?.promises;
    anyhow::ensure!(promises.len() == UNITS as usize, "{} of {UNITS} units were sold", promises.len());

    let mut noop = Figure::new(LIMIT, "1/s");
    let mut ours = Figure::new("sold out", "1/s").against(LIMIT).reaching(Reach::OfLimit(0.85));
    let mut notes = Vec::new();
    let mut first = 2 * u64::from(UNITS);
    for _ in 0..lengths.runs {
        let limit = Rc::new(Wish::new(sale.id, "B-1", &buyers));
        let (outcome, usage) =
            metered(shop, &load(noop_address, Pace::Closed, &lengths, 0), || Buying::new(&limit))?;
        note_run(&mut noop, per_second(outcome.succeeded(), &outcome), &outcome, &usage);
        let (outcome, usage) =
            metered(shop, &load(address, Pace::Closed, &lengths, first), || Buying::new(&wish))?;
        let refused = outcome.answered(409);
        note_run(&mut ours, per_second(refused, &outcome), &outcome, &usage);
        notes = vec![cost("one refusal", &usage, per_second(refused, &outcome) * outcome.seconds)];
        first = outcome.next;
        promises.extend(outcome.promises);
    }
    shop.stop_helper("serve-noop");
    // The last unit must not have been sold twice while thousands wanted it.
    anyhow::ensure!(promises.len() == UNITS as usize, "{} of {UNITS} units were sold", promises.len());
    cancel(address, promises.clone(), &buyers)?;
    shop.audit(&[(&sale, &*buyers, &promises)])?;
    Ok((WHAT, vec![noop, ours], notes))
}
