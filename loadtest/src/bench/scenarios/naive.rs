//! `naive`: the same purchase as most shops implement it, in the same harness.

use std::rc::Rc;

use rocketmart_harness::stack::Component;
use rocketmart_loadtest::generator::Pace;
use sqlx::PgPool;

use super::super::figures::Figure;
use super::super::naive::SCHEMA;
use super::super::shoppers::{Buying, Wish};
use super::accept::{UNPAID, audit, buy};
use super::{Answer, Bench, Lengths, load, make_known, metered, note_run, per_second};

const WHAT: &str = "The same purchase, token check and JSON, done as most shops do it: one SQL transaction with SELECT … \
                    FOR UPDATE per purchase, and one Redis call per purchase without batching. Ours beside them.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let shop = bench.shop()?;
    let buyers = Rc::new(shop.buyers(lengths.buyers)?);
    let database = shop.database_url("naive");
    shop.block_on(async {
        let server = PgPool::connect(&shop.database_url("postgres")).await?;
        sqlx::query("DROP DATABASE IF EXISTS naive").execute(&server).await?;
        sqlx::query("CREATE DATABASE naive").execute(&server).await?;
        let naive = PgPool::connect(&database).await?;
        sqlx::raw_sql(SCHEMA).execute(&naive).await?;
        sqlx::query("INSERT INTO stock VALUES ('B-1', 19900, 1000000000)").execute(&naive).await
    })?;
    shop.rest_the_pipeline()?;
    let more = ["--database".to_owned(), database.clone(), "--redis".to_owned(), shop.redis_url()];
    let address = shop.start_helper("serve-naive", &more)?;
    let order_address = shop.address(Component::Order)?;
    make_known(order_address, &buyers)?;

    // What is bought in one second takes several more to process and audit.
    let lengths = Lengths { run: lengths.run / 2, ..lengths };
    let mut sql = Figure::new("SELECT … FOR UPDATE", "1/s");
    let mut single = Figure::new("one Redis call each", "1/s");
    let mut ours = Figure::new("ours", "1/s");
    let mut sales = Vec::new();
    let mut first = 0;
    for _ in 0..lengths.runs {
        let mut wish = Wish::new(uuid::Uuid::now_v7(), "B-1", &buyers);
        wish.prefix = "/sql";
        let wish = Rc::new(wish);
        let (outcome, usage) =
            metered(shop, &load(address, Pace::Closed, &lengths, first), || Buying::new(&wish))?;
        note_run(&mut sql, per_second(outcome.succeeded(), &outcome), &outcome, &usage);
        first = outcome.next;

        let sale = shop.new_sale(UNPAID)?;
        let mut wish = Wish::new(sale.id, &sale.skus[0], &buyers);
        wish.prefix = "/redis";
        let wish = Rc::new(wish);
        let (outcome, usage) =
            metered(shop, &load(address, Pace::Closed, &lengths, 0), || Buying::new(&wish))?;
        note_run(&mut single, per_second(outcome.succeeded(), &outcome), &outcome, &usage);
        sales.push((sale, Rc::clone(&buyers), outcome.promises));

        let (sale, outcome, usage) = buy(shop, &buyers, Pace::Closed, &lengths)?;
        note_run(&mut ours, per_second(outcome.succeeded(), &outcome), &outcome, &usage);
        sales.push((sale, Rc::clone(&buyers), outcome.promises));
    }
    shop.stop_helper("serve-naive");
    shop.catch_up()?;
    audit(shop, &sales)?;
    Ok((WHAT, vec![sql, single, ours], Vec::new()))
}
