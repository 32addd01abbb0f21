//! The order service: purchases, orders and the books of a sale.
//!
//! ```text
//!            purchase ──▶ api ──▶ Redis (decides) ──▶ stream
//!                                                       │
//!                                                     relay ──▶ Kafka `reservations`
//!                                                                     │
//!   Kafka `payments`, `deliveries`, `products` ──▶ worker ◀───────────┘
//!                                                    │
//!                        PostgreSQL: orders, ledger, stock, outbox ──▶ Kafka `orders`
//!                                                    ▲
//!            operator ──▶ internal API ──────────────┘ (allocate, load, verify, close out)
//! ```
//!
//! We do not trust a Redis that came back with less than it had ([`vouch`]). The internal API rebuilds it
//! from PostgreSQL (docs/adr/0005).
//!
//! Besides the sales there is ordinary stock, which buyers put in a cart and check out. For Redis and the
//! books it is a sale without an end. The worker fills its shelves ([`domain::standing`]).
//!
//! Three processes come from this crate: [`api`] (with the internal API), [`relay`] and [`worker`]. Their
//! decisions are made in [`domain`], which knows neither HTTP nor SQL nor Redis nor Kafka.

pub mod api;
pub mod domain;
pub mod events;
mod internal_api;
mod readiness;
pub mod relay;
mod reservations;
mod standing;
mod stock_config;
pub mod store;
mod stream_id;
mod vouch;
pub mod worker;

use std::time::Duration;

pub use stock_config::StockConfig;

/// The tables of this service. Every component with PostgreSQL may run the migrations; whichever comes
/// first does.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// How ordinary stock is sold.
#[derive(Clone, Debug, clap::Args)]
pub struct OrdinaryConfig {
    /// Seconds a buyer of ordinary stock has to pay.
    #[arg(long, env = "ORDINARY_PAYMENT_SECONDS", default_value_t = 900,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub ordinary_payment_seconds: u32,
}

/// How long a payment that its buyer submitted in time may take.
#[derive(Clone, Debug, clap::Args)]
pub struct GraceConfig {
    /// Seconds after the deadline of an order until a payment that was submitted before it must have come
    /// through. All but the last minute of it may be used to begin the charge.
    #[arg(long, env = "PAYMENT_GRACE_SECONDS", default_value_t = 300)]
    pub payment_grace_seconds: u32,
}

impl GraceConfig {
    /// How long the provider may take to answer about a charge that began at the last moment.
    const ANSWER_SECONDS: u32 = 60;

    /// From the deadline until the units go back on sale.
    pub(crate) fn whole(&self) -> Duration {
        Duration::from_secs(self.payment_grace_seconds.into())
    }

    /// From the deadline until no charge may begin any more.
    pub(crate) fn to_charge(&self) -> Duration {
        Duration::from_secs(self.payment_grace_seconds.saturating_sub(Self::ANSWER_SECONDS).into())
    }
}

/// For how long something may be returned.
#[derive(Clone, Debug, clap::Args)]
pub struct ReturnsConfig {
    /// Seconds from delivery to the last moment to return something; then the order is completed.
    #[arg(long, env = "RETURN_WINDOW_SECONDS", default_value_t = 14 * 86_400)]
    pub return_window_seconds: u32,
}

impl ReturnsConfig {
    pub(crate) fn window(&self) -> time::Duration {
        time::Duration::seconds(self.return_window_seconds.into())
    }
}
