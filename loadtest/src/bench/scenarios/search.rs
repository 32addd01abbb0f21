//! `search`: queries on 100,000 products, and how soon a change can be found.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rocketmart_harness::stack::Component;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::event::Event;
use rocketmart_loadtest::client::Client;
use rocketmart_loadtest::generator::{Load, Pace};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::super::figures::Figure;
use super::super::shop::Shop;
use super::super::shoppers::Reading;
use super::{Answer, Bench, load, metered, note_run, per_second};

const PRODUCTS: usize = 100_000;
const CHANGES: usize = 20;
const SHOPPERS: usize = 32;
const PATIENCE: Duration = Duration::from_mins(2);
const WORDS: [&str; 16] = [
    "rocket", "lunar", "orbital", "titanium", "vintage", "silent", "solar", "mini", "racing", "garden",
    "winter", "copper", "folding", "travel", "studio", "harbour",
];
const THINGS: [&str; 12] = [
    "lamp", "mug", "jacket", "bicycle", "speaker", "tent", "kettle", "watch", "chair", "backpack", "drone",
    "camera",
];
const WHAT: &str = "Queries per second on 100,000 products (two words, a prefix, filters and sorting, in turn), p99 at half \
                    of that rate, and the time from a product's event to its being found.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    let lengths = bench.lengths;
    let products = if lengths.quick { 1_000 } else { PRODUCTS };
    let shop = bench.fresh_shop()?;
    // No other component needs to read a hundred thousand products.
    shop.stop(Component::OrderWorker)?;
    shop.block_on(announce(
        &shop.kafka_brokers(),
        (0..products).map(|n| product(n, OffsetDateTime::now_utc())),
    ))?;
    let client = Client::new(&shop.url(Component::Search), None)?;
    shop.block_on(until_found(&client, &title(products - 1), products))?;

    let paths: Vec<String> = (0..WORDS.len() * THINGS.len()).map(query).collect();
    let requests = Reading::requests(&paths);
    let address = shop.address(Component::Search)?;
    let mut peak = Figure::new("queries", "1/s");
    let mut latency = Figure::new("at half of that rate", "ms p99");
    for _ in 0..lengths.runs {
        let closed = Load { connections: SHOPPERS, ..load(address, Pace::Closed, &lengths, 0) };
        let (outcome, usage) = metered(shop, &closed, || Reading::new(&requests))?;
        let rate = per_second(outcome.answered(200), &outcome);
        ensure!(outcome.answers.len() == 1, "not every query was answered: {:?}", outcome.answers);
        note_run(&mut peak, rate, &outcome, &usage);
        let open = Load { pace: Pace::Open { per_second: rate / 2.0 }, ..closed };
        let (outcome, usage) = metered(shop, &open, || Reading::new(&requests))?;
        note_run(&mut latency, outcome.latency_ms(0.99), &outcome, &usage);
    }
    let mut found = Figure::new("event to found", "ms");
    for n in 0..CHANGES {
        found.runs.push(shop.block_on(freshness(shop, &client, n))?);
    }
    println!("    {:<28}{:>12.0} ms", found.label, found.median());
    shop.start(Component::OrderWorker)?;
    Ok((
        WHAT,
        vec![peak, latency, found],
        vec![format!("{CHANGES} changes, one after the other, on an index at rest.")],
    ))
}

fn title(n: usize) -> String {
    let (first, second) = (WORDS[n % WORDS.len()], WORDS[(n / 7) % WORDS.len()]);
    format!("{first} {second} {} no{n}", THINGS[(n / 3) % THINGS.len()])
}

fn query(n: usize) -> String {
    let (word, thing) = (WORDS[n % WORDS.len()], THINGS[n / WORDS.len() % THINGS.len()]);
    match n % 4 {
        0 => format!("/api/v1/search?q={word}+{thing}"),
        1 => format!("/api/v1/search?q={}", &thing[..3]),
        2 => format!("/api/v1/search?q={thing}&min_price=10000&max_price=60000&in_stock=true"),
        _ => format!("/api/v1/search?q={word}&sort=price"),
    }
}

fn product(n: usize, at: OffsetDateTime) -> Result<(Uuid, Value)> {
    let id = Uuid::now_v7();
    let data = json!({
        "product_id": id, "seller_id": Uuid::nil(), "version": 1, "state": "published", "title": title(n),
        "description": "Made for the launch, in a small series.", "currency": "KRW",
        "categories": [THINGS[(n / 3) % THINGS.len()]], "tags": ["limited"], "pictures": [],
        "variants": [{"sku": format!("S-{}", id.simple()), "price": 1_000 + (n % 100) * 1_000, "quantity": n % 5}],
        "updated_at": at.format(&Rfc3339)?,
    });
    Ok((id, data))
}

async fn announce(brokers: &str, products: impl Iterator<Item = Result<(Uuid, Value)>>) -> Result<()> {
    const AT_ONCE: usize = 5_000;
    let config = KafkaConfig::open(brokers, "");
    let producer = config.producer()?;
    let mut events = Vec::with_capacity(AT_ONCE);
    for product in products {
        let (id, data) = product?;
        events.push(Event::new("/rocketmart/catalog", "rocketmart.product.changed.v1", id, &data));
        if events.len() == AT_ONCE {
            producer.send_all("products", &events).await?;
            events.clear();
        }
    }
    producer.send_all("products", &events).await
}

/// Waits until a title is found; the time limit depends on `products`.
async fn until_found(client: &Client, title: &str, products: usize) -> Result<()> {
    let path = format!("/api/v1/search?q={}", title.replace(' ', "+"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.get(&path, None).await?.expect_success("a query")?;
        let hits = answer["data"].as_array().context("a page of hits")?;
        if hits.iter().any(|hit| hit["title"].as_str() == Some(title)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{products} products were not indexed in time");
        let pause = if products > 1 { 50 } else { 1 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Milliseconds from sending an event until its product can be found.
async fn freshness(shop: &Shop, client: &Client, n: usize) -> Result<f64> {
    let fresh = PRODUCTS * 10 + n;
    let began = Instant::now();
    announce(&shop.kafka_brokers(), std::iter::once(product(fresh, OffsetDateTime::now_utc()))).await?;
    until_found(client, &title(fresh), 1).await?;
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}
