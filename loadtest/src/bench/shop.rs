//! The shop under measurement: every component is a process, on real Redis, Kafka and PostgreSQL, with the
//! buyers, products and sales that the runs need.
//!
//! Buyers are identities with real tokens, signed with the shop's own key, because signing up by mail is not
//! what we measure. Their cards and addresses are written in bulk to the databases of their services.
//! Everything that is measured uses the same interfaces as shoppers and the operator.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use rocketmart_contracts::internal_api::{Item, SaleTerms};
use rocketmart_harness::stack::{Component, InternalApi, Recipe, Stack};
use rocketmart_harness::{
    ports,
    process::{Process, Server},
};
use rocketmart_loadtest::client::{Call, Client};
use rocketmart_loadtest::generator::Promise;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::meter::Meter;
use super::tokens::{Buyers, Signer};

pub(crate) const START_LIMIT: Duration = Duration::from_mins(1);
const DRAIN_LIMIT: Duration = Duration::from_mins(10);
const PRICE: i64 = 19_900;
/// Parcels do not move: we follow a purchase until its shipment exists.
const CARRIER_STEP_SECONDS: &str = "86400";
/// How many purchases one buyer may make per second and at once: more than a machine can handle.
const UNHINDERED: &str = "1000000";

/// The programs that were built.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) rocketmart: PathBuf,
    pub(crate) checker: PathBuf,
    /// Only the `operator` scenario needs it.
    pub(crate) operator: Option<PathBuf>,
}

pub(crate) struct Shop {
    stack: Stack,
    programs: Programs,
    signer: Signer,
    runtime: Runtime,
    helpers: Vec<(String, Process)>,
}

/// A sale that is loaded and open.
#[derive(Debug, Clone)]
pub(crate) struct Sale {
    pub(crate) id: Uuid,
    pub(crate) skus: Vec<String>,
    /// Nothing of the sale can exist before this moment (Unix milliseconds).
    pub(crate) since_ms: i64,
}

/// What a sale promises.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) units: u32,
    pub(crate) per_buyer_limit: u32,
    pub(crate) payment_seconds: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self { units: 5_000_000, per_buyer_limit: 1_000_000, payment_seconds: 600 }
    }
}

impl Shop {
    /// Starts a shop and waits until it is ready. The outside world answers at once: parcels do not move, and
    /// the payment provider sends no call-backs besides its answers. A few buyers stand for many, so each may
    /// do as much as all of them.
    pub(crate) fn open(programs: &Programs) -> Result<Self> {
        let stack = Recipe::new(&programs.rocketmart)
            .env(Component::DeliveryWorker, "CARRIER_STEP_SECONDS", CARRIER_STEP_SECONDS)
            .env(Component::Catalog, "REQUESTS_PER_MEMBER", "0")
            .env(Component::Order, "PURCHASES_PER_MEMBER", UNHINDERED)
            .env(Component::Order, "PURCHASE_BURST_PER_MEMBER", UNHINDERED)
            .start()
            .context("starting the shop")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signer = Signer::read(&stack.signing_key())?;
        let shop = Self { stack, programs: programs.clone(), signer, runtime, helpers: Vec::new() };
        let provider = Client::new(&shop.stack.url(Component::SimulateProvider), None)?;
        let quiet = json!({"callback_url": ""});
        let call = Call { body: Some(&quiet), ..Call::default() };
        shop.runtime.block_on(provider.send(Method::PUT, "/control", call))?.expect_success("provider")?;
        Ok(shop)
    }

    pub(crate) fn address(&self, component: Component) -> Result<SocketAddr> {
        address(&self.stack.url(component))
    }

    pub(crate) fn url(&self, component: Component) -> String {
        self.stack.url(component)
    }

    /// Where a component serves its metrics.
    pub(crate) fn admin_url(&self, component: Component) -> String {
        self.stack.admin_url(component)
    }

    pub(crate) fn redis_url(&self) -> String {
        self.stack.backing.redis.url()
    }

    pub(crate) fn kafka_brokers(&self) -> String {
        self.stack.backing.kafka.brokers()
    }

    pub(crate) fn database_url(&self, name: &str) -> String {
        self.stack.database_url(name)
    }

    pub(crate) fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.stack.url(Component::Member))
    }

    pub(crate) fn internal_api(&self) -> InternalApi {
        self.stack.internal_api()
    }

    pub(crate) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// Watches every process of the shop and the helpers started so far.
    pub(crate) fn meter(&self) -> Meter {
        let backing = &self.stack.backing;
        let mut processes = vec![
            ("redis".to_owned(), backing.redis.pid()),
            ("postgresql".to_owned(), backing.postgres.pid()),
            ("kafka".to_owned(), backing.kafka.pid()),
        ];
        let components = Component::ALL.into_iter();
        processes
            .extend(components.filter_map(|each| Some((each.name().to_owned(), self.stack.pid(each, 0)?))));
        processes.extend(self.helpers.iter().map(|(name, process)| (name.clone(), process.id())));
        Meter::new(processes)
    }

    /// Stops the relay. Accepted purchases wait in Redis and the workers have nothing to do, until
    /// [`Self::catch_up`].
    pub(crate) fn rest_the_pipeline(&mut self) -> Result<()> {
        self.stack.stop(Component::OrderRelay, 0)
    }

    pub(crate) fn catch_up(&mut self) -> Result<()> {
        self.start(Component::OrderRelay)
    }

    pub(crate) fn stop(&mut self, component: Component) -> Result<()> {
        self.stack.stop(component, 0)
    }

    /// Starts a component again and waits until it is ready.
    pub(crate) fn start(&mut self, component: Component) -> Result<()> {
        self.stack.start(component, 0)?;
        self.stack.wait_until_ready(START_LIMIT)
    }

    /// Starts this program as a server beside the shop and returns its address.
    pub(crate) fn start_helper(&mut self, name: &'static str, more: &[String]) -> Result<SocketAddr> {
        let port = ports::free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let mut arguments = vec![name.to_owned(), "--listen".to_owned(), listen.clone()];
        arguments.extend(["--jwks-url".to_owned(), self.jwks_url()]);
        arguments.extend_from_slice(more);
        let server = Server {
            name,
            program: std::env::current_exe()?,
            arguments,
            environment: Vec::new(),
            log: self.stack.folder().join(format!("{name}.log")),
            user: None,
        };
        let process = server.start(port, START_LIMIT)?;
        self.add_helper(name, process);
        Ok(listen.parse()?)
    }

    /// Meters a server beside the shop, and ends it with the shop.
    pub(crate) fn add_helper(&mut self, name: &str, process: Process) {
        self.helpers.push((name.to_owned(), process));
    }

    /// The folder with the logs of the shop's processes.
    pub(crate) fn folder(&self) -> PathBuf {
        self.stack.folder().to_owned()
    }

    pub(crate) fn stop_helper(&mut self, name: &str) {
        self.helpers.retain(|(known, _)| known != name);
    }

    /// Buyers with tokens; the same numbers give the same buyers.
    pub(crate) fn buyers(&self, count: usize) -> Result<Buyers> {
        Buyers::sign(&self.signer, count)
    }

    /// Gives every buyer a card and an address, both their default.
    pub(crate) fn equip(&self, buyers: &Buyers) -> Result<()> {
        let ids = buyers.ids();
        let cards = "INSERT INTO payment_methods (id, member_id, provider_token, is_default)
                     SELECT gen_random_uuid(), id, 'tok_' || id, true FROM unnest($1::uuid[]) AS b (id)
                     ON CONFLICT DO NOTHING";
        let addresses =
            "INSERT INTO addresses (id, member_id, recipient, line1, city, postal_code, country, is_default)
                         SELECT gen_random_uuid(), id, 'Kim', 'Sejong-daero 110', 'Seoul', '04524', 'KR', true
                         FROM unnest($1::uuid[]) AS b (id) ON CONFLICT DO NOTHING";
        self.runtime.block_on(async {
            for (database, statement) in [("payment", cards), ("delivery", addresses)] {
                let pool = PgPoolOptions::new().connect(&self.database_url(database)).await?;
                sqlx::query(statement).bind(&ids).execute(&pool).await?;
                // As autovacuum would after so many new rows; this way it does not start in the middle of a
                // run.
                sqlx::query("VACUUM ANALYZE").execute(&pool).await?;
                pool.close().await;
            }
            Ok(())
        })
    }

    /// Publishes products with `count` SKUs of `units` each through the catalog.
    pub(crate) fn publish(&self, count: usize, units: u64) -> Result<Vec<String>> {
        const VARIANTS: usize = 100;
        let catalog = Client::new(&self.stack.url(Component::Catalog), None)?;
        let seller = self.signer.seller()?;
        let run = Uuid::now_v7().simple().to_string();
        let skus: Vec<String> = (0..count).map(|n| format!("B{}-{n}", &run[4..20])).collect();
        self.runtime.block_on(async {
            for chunk in skus.chunks(VARIANTS) {
                let variants: Vec<Value> = chunk
                    .iter()
                    .map(|sku| json!({"sku": sku, "price": PRICE, "quantity": units}))
                    .collect();
                let body = json!({"title": "Rocket", "description": "Flies.", "currency": "KRW", "variants": variants});
                let key = Uuid::now_v7().to_string();
                let call = |body| Call { token: Some(&seller), idempotency_key: Some(&key), body, if_match: None };
                let created = catalog.send(Method::POST, "/api/v1/products", call(Some(&body))).await?;
                let created = created.expect_success("a product")?;
                let id = created["id"].as_str().context("a product without id")?;
                let path = format!("/api/v1/products/{id}/publish");
                catalog.send(Method::POST, &path, call(None)).await?.expect_success("publishing")?;
            }
            Ok(skus)
        })
    }

    /// Loads a sale of these SKUs that is open at once, and waits until it is verified.
    pub(crate) fn load(&self, skus: &[String], terms: Terms) -> Result<Sale> {
        let (sale, wanted) = offer(skus, terms)?;
        self.internal_api().load(&sale.id.to_string(), &wanted, START_LIMIT)?;
        Ok(sale)
    }

    /// A sale of its own SKU.
    pub(crate) fn new_sale(&self, terms: Terms) -> Result<Sale> {
        let skus = self.publish(1, u64::from(terms.units))?;
        self.load(&skus, terms)
    }

    /// Waits until nothing of these sales is on its way any more, then proves the invariants: neither the
    /// close-out of each sale nor the checker, which knows what shoppers were told, may find a difference.
    /// The error says which invariant does not hold.
    pub(crate) fn audit(&self, sales: &[(&Sale, &Buyers, &[Promise])]) -> Result<()> {
        for (sale, ..) in sales {
            let report = self.internal_api().close_out(&sale.id.to_string(), DRAIN_LIMIT)?;
            ensure!(
                report.differences_total == 0 && report.closed_out_at.is_some(),
                "the close-out of a sale found differences: {report:?}"
            );
        }
        for (sale, buyers, promises) in sales {
            self.check(sale, buyers, promises)?;
        }
        Ok(())
    }

    fn check(&self, sale: &Sale, buyers: &Buyers, promises: &[Promise]) -> Result<()> {
        let folder = self.stack.folder();
        let (history, out) = (folder.join("history.jsonl"), folder.join("checker.json"));
        write_history(&history, buyers, promises)?;
        let output = std::process::Command::new(&self.programs.checker)
            .args(["--sale", &sale.id.to_string(), "--since-ms", &sale.since_ms.to_string()])
            .args(["--redis-url", &self.redis_url(), "--kafka-brokers", &self.kafka_brokers()])
            .args(["--provider-url", &self.stack.url(Component::SimulateProvider)])
            .arg("--history")
            .arg(&history)
            .arg("--out")
            .arg(&out)
            .env("ORDER_DATABASE_URL", self.database_url("order"))
            .env("PAYMENT_DATABASE_URL", self.database_url("payment"))
            .env("DELIVERY_DATABASE_URL", self.database_url("delivery"))
            .output()
            .context("running the checker")?;
        if !output.status.success() {
            bail!("the checker: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let report: Value = serde_json::from_slice(&std::fs::read(&out)?)?;
        let verdicts = report["invariants"].as_object().context("the checker gave no verdicts")?;
        ensure!(verdicts.len() == 7, "the checker judged {} invariants", verdicts.len());
        for (name, verdict) in verdicts {
            ensure!(verdict["difference"] == 0, "invariant {name} does not hold: {verdict}");
        }
        Ok(())
    }
}

/// A fresh sale, and the terms that the operator would send.
pub(crate) fn offer(skus: &[String], terms: Terms) -> Result<(Sale, SaleTerms)> {
    let now = OffsetDateTime::now_utc();
    let id = Uuid::now_v7();
    let items = skus.iter().map(|sku| Item {
        sku: sku.clone(),
        units: terms.units.into(),
        price: PRICE,
        per_buyer_limit: terms.per_buyer_limit.min(terms.units).into(),
    });
    let wanted = SaleTerms {
        name: format!("bench-{}", &id.simple().to_string()[20..]),
        fence: 1,
        items: items.collect(),
        currency: "KRW".to_owned(),
        opens_at: now - time::Duration::seconds(1),
        closes_at: now + time::Duration::hours(6),
        payment_seconds: terms.payment_seconds.into(),
    };
    let since_ms = i64::try_from(now.unix_timestamp_nanos() / 1_000_000)? - 1_000;
    Ok((Sale { id, skus: skus.to_vec(), since_ms }, wanted))
}

fn address(url: &str) -> Result<SocketAddr> {
    url.trim_start_matches("http://").parse().with_context(|| format!("an address in {url}"))
}

fn write_history(path: &Path, buyers: &Buyers, promises: &[Promise]) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for promise in promises {
        let line = json!({
            "operation": "purchase", "buyer": buyers.id_of(promise.n), "key": buyers.key_of(promise.n),
            "outcome": "ok", "order": promise.order,
        });
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(())
}
