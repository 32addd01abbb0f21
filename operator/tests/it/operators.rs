//! Operators of a test's namespace: with the rights of the chart, and with something in their way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use clap::Parser;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config as ClientConfig};
use rocketmart_operator::{Config, Context, controllers, leader::Fence};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, client_config},
    scissors::Scissors,
    trouble::Trouble,
    watch::Wire,
};

const SERVICE_ACCOUNT: &str = "system:serviceaccount:rocketmart-system:rocketmart-operator";
/// For operators that look after Shops alone.
const NO_ORDER_SERVICE: &str = "http://nowhere";

pub struct Operator {
    stop: CancellationToken,
    task: JoinHandle<()>,
    writes: Arc<AtomicUsize>,
}

impl Operator {
    /// Looks after Shops alone.
    fn of_shops(context: Arc<Context>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(controllers::shop::run(context, stop.clone()));
        Self { stop, task, writes: Arc::default() }
    }

    /// Looks after `FlashSales` alone.
    fn of_sales(context: Arc<Context>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(controllers::flash_sale::run(context, stop.clone()));
        Self { stop, task, writes: Arc::default() }
    }

    /// Requests so far that were not reads, whether or not they changed anything. Of [`Cluster::operator`]
    /// and [`Cluster::sales_operator`].
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it in the middle of whatever it does, as a crash would.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }
}

impl Cluster {
    /// One that looks after Shops and counts what it writes.
    pub async fn operator(&self) -> Operator {
        let (client, writes) = counting_client().await;
        Operator { writes, ..Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1)) }
    }

    /// One that looks after Shops, cut off when the scissors say so.
    pub async fn shop_operator_cut_by(&self, scissors: &Scissors) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(scissors).build();
        Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1))
    }

    /// One that looks after Shops through an API server that makes trouble.
    pub async fn shop_operator_through(&self, trouble: &Trouble) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(trouble).build();
        Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1))
    }

    /// One that looks after Shops and whose watches can be cut.
    pub async fn shop_operator_on(&self, wire: &Wire) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(wire).build();
        Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1))
    }

    /// One that looks after Shops and may do everything.
    pub fn operator_as_administrator(&self) -> Operator {
        Operator::of_shops(self.context(self.client.clone(), NO_ORDER_SERVICE, 1))
    }

    /// One that looks after `FlashSales` in term 1 and may do everything.
    pub fn sales_operator_as_administrator(&self, order_url: &str) -> Operator {
        Operator::of_sales(self.context(self.client.clone(), order_url, 1))
    }

    /// One that looks after `FlashSales` in this term of leadership and counts what it writes; the order
    /// service is at `order_url`.
    pub async fn sales_operator(&self, order_url: &str, term: i64) -> Operator {
        let (client, writes) = counting_client().await;
        Operator { writes, ..Operator::of_sales(self.context(client, order_url, term)) }
    }

    /// The same, cut off when the scissors say so.
    pub async fn sales_operator_cut_by(&self, scissors: &Scissors, order_url: &str, term: i64) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(scissors).build();
        Operator::of_sales(self.context(client, order_url, term))
    }

    /// The same in term 1, through an API server that makes trouble.
    pub async fn sales_operator_through(&self, trouble: &Trouble, order_url: &str) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(trouble).build();
        Operator::of_sales(self.context(client, order_url, 1))
    }

    /// The same in term 1, whose watches can be cut.
    pub async fn sales_operator_on(&self, wire: &Wire, order_url: &str) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(wire).build();
        Operator::of_sales(self.context(client, order_url, 1))
    }

    /// The same in term 1, with settings as on its command line.
    pub async fn sales_operator_with(&self, order_url: &str, settings: &[&str]) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().build();
        Operator::of_sales(self.context_with(client, order_url, 1, settings))
    }

    /// What an operator of this namespace works with.
    pub fn context(&self, client: Client, order_url: &str, term: i64) -> Arc<Context> {
        self.context_with(client, order_url, term, &[])
    }

    fn context_with(&self, client: Client, order_url: &str, term: i64, settings: &[&str]) -> Arc<Context> {
        let own = ["rocketmart-operator", "--watch-namespace", &self.namespace, "--order-url", order_url];
        let config = Config::parse_from(own.iter().chain(settings));
        Arc::new(Context::new(client, config, Fence::of_term(term)))
    }
}

/// With the rights of the chart; counts requests that are not reads.
async fn counting_client() -> (Client, Arc<AtomicUsize>) {
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = writes.clone();
    let count = tower::util::MapRequestLayer::new(move |request: http::Request<Body>| {
        if request.method() != http::Method::GET {
            // Shown when a test expected others.
            println!("writes: {} {}", request.method(), request.uri());
            counted.fetch_add(1, Ordering::Relaxed);
        }
        request
    });
    (ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(&count).build(), writes)
}

async fn chart_rights() -> ClientConfig {
    let mut config = client_config().await;
    config.auth_info.impersonate = Some(SERVICE_ACCOUNT.to_owned());
    config
}
