//! The components by name, and how to run each.

use std::path::PathBuf;
use std::pin::Pin;

use clap::Subcommand;
use rocketmart_kit::telemetry;

use crate::dead_letters::DeadLetters;
use crate::event_schemas;
use crate::openapi::{self, Described};
use crate::rewind::Rewind;

/// What one process is.
#[derive(Subcommand)]
pub(crate) enum Component {
    /// Sign-up, sessions, tokens and their public keys.
    Member(Box<rocketmart_member::api::Args>),
    /// Products, likes and the wishlist.
    Catalog(Box<rocketmart_catalog::api::Args>),
    /// Search among the published products.
    Search(Box<rocketmart_search::api::Args>),
    /// Sales, purchases, orders, and the internal API for the operator.
    Order(Box<rocketmart_order::api::Args>),
    /// Moves reservations to Kafka and expires them.
    OrderRelay(Box<rocketmart_order::relay::Args>),
    /// Turns reservations and payments into orders and the ledger.
    OrderWorker(Box<rocketmart_order::worker::Args>),
    /// Payment methods, payments and the provider's call-backs.
    Payment(Box<rocketmart_payment::api::Args>),
    /// Charges and refunds.
    PaymentWorker(Box<rocketmart_payment::worker::Args>),
    /// Addresses and shipments.
    Delivery(Box<rocketmart_delivery::api::Args>),
    /// Shipments from paid orders, and the simulated carrier.
    DeliveryWorker(Box<rocketmart_delivery::worker::Args>),
    /// The simulated payment provider; for development.
    SimulateProvider(Box<rocketmart_outside::provider::Args>),
    /// A mail server that keeps what it gets for reading; for development.
    SimulateMail(Box<rocketmart_outside::mail::Args>),
    /// Routes by path to the components, as the Ingress does in a cluster; for development.
    SimulateEntrance(Box<rocketmart_outside::entrance::Args>),
    /// Looks at messages that could not be handled, and sends them back to where they came from.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Moves consumer groups back, so that what came since a backup is read again (docs/restore.md).
    Rewind(Rewind),
    /// Writes the JSON Schemas of all events and their index into a folder.
    EventSchemas {
        into: PathBuf,
        /// The schemas that others know; a change that would break them is refused.
        #[arg(long)]
        since: PathBuf,
    },
    /// Prints the OpenAPI description of a component's HTTP interface, or of all of them.
    Openapi {
        #[arg(value_enum)]
        of: Described,
    },
}

type Run = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

impl Component {
    /// Runs until the component has stopped.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let (name, run): (&str, Run) = match self {
            Self::Member(mut args) => {
                args.shop_description = Some(openapi::shop()?);
                ("member", Box::pin(rocketmart_member::api::run(*args)))
            }
            Self::Catalog(args) => ("catalog", Box::pin(rocketmart_catalog::api::run(*args))),
            Self::Search(args) => ("search", Box::pin(rocketmart_search::api::run(*args))),
            Self::Order(args) => ("order", Box::pin(rocketmart_order::api::run(*args))),
            Self::OrderRelay(args) => ("order-relay", Box::pin(rocketmart_order::relay::run(*args))),
            Self::OrderWorker(args) => ("order-worker", Box::pin(rocketmart_order::worker::run(*args))),
            Self::Payment(args) => ("payment", Box::pin(rocketmart_payment::api::run(*args))),
            Self::PaymentWorker(args) => ("payment-worker", Box::pin(rocketmart_payment::worker::run(*args))),
            Self::Delivery(args) => ("delivery", Box::pin(rocketmart_delivery::api::run(*args))),
            Self::DeliveryWorker(args) => {
                ("delivery-worker", Box::pin(rocketmart_delivery::worker::run(*args)))
            }
            Self::SimulateProvider(args) => {
                ("simulate-provider", Box::pin(rocketmart_outside::provider::run(*args)))
            }
            Self::SimulateMail(args) => ("simulate-mail", Box::pin(rocketmart_outside::mail::run(*args))),
            Self::SimulateEntrance(args) => {
                ("simulate-entrance", Box::pin(rocketmart_outside::entrance::run(*args)))
            }
            Self::DeadLetters(what) => return what.run().await,
            Self::Rewind(rewind) => return rewind.run().await,
            Self::EventSchemas { into, since } => return event_schemas::write(&into, &since),
            Self::Openapi { of } => {
                println!("{}", of.document()?);
                return Ok(());
            }
        };
        telemetry::init(name);
        telemetry::log_panics();
        run.await
    }
}
