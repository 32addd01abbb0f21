//! `preload`: from the operator's first command to a sale that was read back and verified.

use std::time::Instant;

use anyhow::ensure;
use rocketmart_contracts::internal_api::SaleState;

use super::super::figures::{Figure, Reach};
use super::super::shop::{Sale, Terms, offer};
use super::{Answer, Bench};

const SKUS: usize = 1_000;
const UNITS: u32 = 1_000;
/// The most SKUs that a sale can have.
const SKUS_OF_A_SALE: usize = 100;
const WHAT: &str = "Seconds to allocate, load and verify 1,000 SKUs with 1,000,000 units (10 sales of 100 SKUs, one \
                    after the other, as the operator would).";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let shop = bench.shop()?;
    let mut took = Figure::new("preload", "s").reaching(Reach::AtMost(2.0));
    let mut sales: Vec<Sale> = Vec::new();
    for _ in 0..lengths.runs {
        let skus = shop.publish(SKUS, u64::from(UNITS))?;
        let terms = Terms { units: UNITS, ..Terms::default() };
        // Once a sale of the last SKU loads, the order service knows them all, because products arrive in
        // order.
        let heard_of = shop.load(&skus[SKUS - 1..], Terms { units: 1, ..terms })?;
        let api = shop.internal_api();
        let terms = Terms { units: UNITS - 1, ..terms };
        let offers =
            skus.chunks(SKUS_OF_A_SALE).map(|skus| offer(skus, terms)).collect::<anyhow::Result<Vec<_>>>()?;
        let began = Instant::now();
        for (sale, wanted) in &offers {
            let status = api.put(&sale.id.to_string(), wanted)?;
            ensure!(status.state == SaleState::Ready && status.verified, "not verified: {status:?}");
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("    {:<28}{seconds:>12.2} s", "preload");
        took.runs.push(seconds);
        sales.push(heard_of);
        sales.extend(offers.into_iter().map(|(sale, _)| sale));
    }
    let buyers = shop.buyers(1)?;
    let audited: Vec<_> = sales.iter().map(|sale| (sale, &buyers, [].as_slice())).collect();
    shop.audit(&audited)?;
    Ok((WHAT, vec![took], Vec::new()))
}
