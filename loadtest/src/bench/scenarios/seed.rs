//! `scenario`: the seed's load test. 10,000 purchase requests; a fifth of the customers leave while trying to
//! pay, a fifth between paying and completing.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rocketmart_harness::stack::Component;
use rocketmart_loadtest::generator::{Load, Pace};
use sqlx::PgPool;
use uuid::Uuid;

use super::super::figures::{Figure, Reach};
use super::super::ingress;
use super::super::shop::Terms;
use super::super::shoppers::{Following, Wish};
use super::{Answer, Bench, cancel, load, make_known, metered, note_run};

const REQUESTS: u64 = 10_000;
/// What the seed reached, built and run on a machine like this.
const SEED_STRAIGHT: f64 = 1_033.0;
const SEED_THROUGH_ITS_GATEWAY: f64 = 259.0;
const SEED_STORED: f64 = 119.0;
const TIMES: f64 = 20.0;
const USERS: [usize; 3] = [10, 50, 200];
const STORED_LIMIT: Duration = Duration::from_mins(2);

const WHAT: &str = "The seed's load test: 10,000 purchase requests, 20 % leave while trying to pay, 20 % between paying \
                    and completing, by 10, 50 and 200 users, straight to the service and through the ingress (Envoy). \
                    Requests are all HTTP requests of the run; orders stored count until the last one is in PostgreSQL.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let requests = if lengths.quick { REQUESTS / 20 } else { REQUESTS };
    let shop = bench.fresh_shop()?;
    let buyers = Rc::new(shop.buyers(usize::try_from(requests)?)?);
    shop.equip(&buyers)?;
    let straight = shop.address(Component::Order)?;
    make_known(straight, &buyers)?;
    let ways = [
        ("straight", straight, SEED_STRAIGHT),
        ("through Envoy", shop.start_ingress()?, SEED_THROUGH_ITS_GATEWAY),
    ];
    let mut figures = Vec::new();
    for (way, address, seeds) in ways {
        for users in USERS {
            let mut rate = Figure::new(format!("requests {way}, {users} users"), "1/s")
                .reaching(Reach::AtLeast(TIMES * seeds));
            let mut stored = Figure::new(format!("orders stored, {way}, {users} users"), "1/s")
                .reaching(Reach::AtLeast(TIMES * SEED_STORED));
            let mut sales = Vec::new();
            for _ in 0..lengths.runs {
                let sale = shop.new_sale(Terms::default())?;
                let wish = Rc::new(Wish::new(sale.id, &sale.skus[0], &buyers));
                let all = Load {
                    connections: users,
                    warm_up: Duration::ZERO,
                    length: STORED_LIMIT,
                    acts: Some(requests),
                    ..load(address, Pace::Closed, &lengths, 0)
                };
                let began = Instant::now();
                let (outcome, usage) = metered(shop, &all, || Following::like_the_seeds(&wish))?;
                shop.block_on(all_stored(&shop.database_url("order"), sale.id, requests))?;
                #[expect(clippy::cast_precision_loss, reason = "ten thousand")]
                let (of_http, of_sql) = (
                    outcome.requests as f64 / outcome.seconds,
                    requests as f64 / began.elapsed().as_secs_f64(),
                );
                ensure!(
                    outcome.promises.len() as u64 == requests,
                    "{} orders were promised",
                    outcome.promises.len()
                );
                note_run(&mut rate, of_http, &outcome, &usage);
                println!("    {:<28}{of_sql:>12.0} 1/s", stored.label);
                stored.runs.push(of_sql);
                sales.push((sale, outcome.promises));
            }
            // Customers who left would hold units until they expire, into the next runs, so we cancel their
            // orders here.
            for (_, promises) in &sales {
                let left = promises.iter().filter(|promise| Following::left(promise.n)).copied().collect();
                cancel(straight, left, &buyers)?;
            }
            let audited: Vec<_> =
                sales.iter().map(|(sale, promises)| (sale, &*buyers, promises.as_slice())).collect();
            shop.audit(&audited)?;
            figures.extend([rate, stored]);
        }
    }
    shop.stop_helper(ingress::NAME);
    let notes = vec![
        "The seed, built and run on such a machine: 1,033 requests/s straight to its payment service, 218–259 \
         requests/s through its gateway, 105–119 orders/s stored."
            .to_owned(),
        "Envoy is the node's, as a process with one route; on the node Contour writes that route.".to_owned(),
    ];
    Ok((WHAT, figures, notes))
}

async fn all_stored(database: &str, sale: Uuid, wanted: u64) -> Result<()> {
    let pool = PgPool::connect(database).await?;
    let deadline = Instant::now() + STORED_LIMIT;
    loop {
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE sale_id = $1")
            .bind(sale)
            .fetch_one(&pool)
            .await?;
        if u64::try_from(stored)? >= wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{stored} of {wanted} orders are stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
