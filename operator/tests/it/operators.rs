//! Operators in a test's namespace, with the chart's rights and with something in their way.

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
/// For operators that handle Shops alone.
const NO_ORDER_SERVICE: &str = "http://nowhere";

pub struct Operator {
    stop: CancellationToken,
    task: JoinHandle<()>,
    writes: Arc<AtomicUsize>,
}

impl Operator {
    /// An operator that handles Shops alone.
    fn of_shops(context: Arc<Context>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(controllers::shop::run(context, stop.clone()));
        Self { stop, task, writes: Arc::default() }
    }

    /// An operator that handles `FlashSales` alone.
    fn of_sales(context: Arc<Context>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(controllers::flash_sale::run(context, stop.clone()));
        Self { stop, task, writes: Arc::default() }
    }

    /// How many requests so far were not reads, whether or not they changed anything. Only
    /// [`Cluster::operator`] and [`Cluster::sales_operator`] count them.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Cuts it off in the middle of its work, as a crash would.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }
}

impl Cluster {
    /// An operator that handles Shops and counts its writes.
    pub async fn operator(&self) -> Operator {
        let (client, writes) = counting_client().await;
        Operator { writes, ..Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1)) }
    }

    /// An operator for Shops that stops when the scissors cut.
    pub async fn shop_operator_cut_by(&self, scissors: &Scissors) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(scissors).build();
        Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1))
    }

    /// An operator for Shops whose API server makes trouble.
    pub async fn shop_operator_through(&self, trouble: &Trouble) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(trouble).build();
        Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1))
    }

    /// An operator for Shops whose watches can be cut.
    pub async fn shop_operator_on(&self, wire: &Wire) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(wire).build();
        Operator::of_shops(self.context(client, NO_ORDER_SERVICE, 1))
    }

    /// An operator for Shops with every right.
    pub fn operator_as_administrator(&self) -> Operator {
        Operator::of_shops(self.context(self.client.clone(), NO_ORDER_SERVICE, 1))
    }

    /// An operator for `FlashSales` in term 1, with every right.
    pub fn sales_operator_as_administrator(&self, order_url: &str) -> Operator {
        Operator::of_sales(self.context(self.client.clone(), order_url, 1))
    }

    /// An operator for `FlashSales` in this term of leadership that counts its writes. The order service is
    /// at `order_url`.
    pub async fn sales_operator(&self, order_url: &str, term: i64) -> Operator {
        let (client, writes) = counting_client().await;
        Operator { writes, ..Operator::of_sales(self.context(client, order_url, term)) }
    }

    /// The same, but it stops when the scissors cut.
    pub async fn sales_operator_cut_by(&self, scissors: &Scissors, order_url: &str, term: i64) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(scissors).build();
        Operator::of_sales(self.context(client, order_url, term))
    }

    /// The same in term 1, with an API server that makes trouble.
    pub async fn sales_operator_through(&self, trouble: &Trouble, order_url: &str) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(trouble).build();
        Operator::of_sales(self.context(client, order_url, 1))
    }

    /// The same in term 1, whose watches can be cut.
    pub async fn sales_operator_on(&self, wire: &Wire, order_url: &str) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().with_layer(wire).build();
        Operator::of_sales(self.context(client, order_url, 1))
    }

    /// The same in term 1, with command-line settings.
    pub async fn sales_operator_with(&self, order_url: &str, settings: &[&str]) -> Operator {
        let client = ClientBuilder::try_from(chart_rights().await).unwrap().build();
        Operator::of_sales(self.context_with(client, order_url, 1, settings))
    }

    /// The context of an operator in this namespace.
    pub fn context(&self, client: Client, order_url: &str, term: i64) -> Arc<Context> {
        self.context_with(client, order_url, term, &[])
    }

    fn context_with(&self, client: Client, order_url: &str, term: i64, settings: &[&str]) -> Arc<Context> {
        let own = ["rocketmart-operator", "--watch-namespace", &self.namespace, "--order-url", order_url];
        let config = Config::parse_from(own.iter().chain(settings));
        Arc::new(Context::new(client, config, Fence::of_term(term)))
    }
}

/// A client with the chart's rights that counts requests other than reads.
async fn counting_client() -> (Client, Arc<AtomicUsize>) {
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = writes.clone();
    let count = tower::util::MapRequestLayer::new(move |request: http::Request<Body>| {
        if request.method() != http::Method::GET {
            // The output helps when a test expected other writes.
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
