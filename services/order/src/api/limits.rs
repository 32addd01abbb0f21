//! Limits for buyers: how many purchases one member or one network address may ask for; how many unknown
//! orders and sales they may look for, since anybody can invent ids; and how much a member may hold unpaid.
//!
//! Each replica counts the first two in memory, before it asks Redis for anything: a refusal has taken
//! nothing. A repetition counts too, since it costs as much as a first try. The limit per member stops
//! scripts. The limit per address stops a flood of many members from one machine; it is wide, because a
//! whole company may shop from one address.

use std::net::IpAddr;
use std::sync::Arc;

use rocketmart_kit::client_address::{ClientAddress, network};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::rate_limit::{Rate, RateLimit};
use uuid::Uuid;

use crate::domain::cart::UnpaidLimits;

const PER_MEMBER: u32 = 10;
const BURST_PER_MEMBER: u32 = 20;
const PER_ADDRESS: u32 = 5_000;
const BURST_PER_ADDRESS: u32 = 10_000;
const TRUSTED_PROXIES: usize = 1;
const UNPAID_ORDERS: u32 = 10;
const UNPAID_UNITS: u32 = 100;

/// Against floods.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LimitArgs {
    /// Purchases a member may ask for per second in the long run; 0: unlimited.
    #[arg(long, env = "PURCHASES_PER_MEMBER", default_value_t = PER_MEMBER)]
    pub purchases_per_member: u32,
    /// Purchases a member may ask for at once.
    #[arg(long, env = "PURCHASE_BURST_PER_MEMBER", default_value_t = BURST_PER_MEMBER)]
    pub purchase_burst_per_member: u32,
    /// Purchases that may come from one address per second in the long run; 0: unlimited.
    #[arg(long, env = "PURCHASES_PER_ADDRESS", default_value_t = PER_ADDRESS)]
    pub purchases_per_address: u32,
    /// Purchases that may come from one address at once.
    #[arg(long, env = "PURCHASE_BURST_PER_ADDRESS", default_value_t = BURST_PER_ADDRESS)]
    pub purchase_burst_per_address: u32,
    /// How many proxies of ours append to `X-Forwarded-For` before a request gets here; 0: clients
    /// come directly and their addresses are not looked at.
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = TRUSTED_PROXIES)]
    pub trusted_proxies: usize,
    /// Open unpaid orders of ordinary stock a member may have; 0: any number.
    #[arg(long, env = "UNPAID_ORDERS_PER_MEMBER", default_value_t = UNPAID_ORDERS)]
    pub unpaid_orders_per_member: u32,
    /// Units a member may hold in such orders; 0: any number.
    #[arg(long, env = "UNPAID_UNITS_PER_MEMBER", default_value_t = UNPAID_UNITS)]
    pub unpaid_units_per_member: u32,
}

impl LimitArgs {
    pub(super) fn unpaid(&self) -> UnpaidLimits {
        UnpaidLimits {
            orders: self.unpaid_orders_per_member.into(),
            units: self.unpaid_units_per_member.into(),
        }
    }
}

impl Default for LimitArgs {
    fn default() -> Self {
        Self {
            purchases_per_member: PER_MEMBER,
            purchase_burst_per_member: BURST_PER_MEMBER,
            purchases_per_address: PER_ADDRESS,
            purchase_burst_per_address: BURST_PER_ADDRESS,
            trusted_proxies: TRUSTED_PROXIES,
            unpaid_orders_per_member: UNPAID_ORDERS,
            unpaid_units_per_member: UNPAID_UNITS,
        }
    }
}

impl LimitArgs {
    fn per_member(&self) -> Arc<RateLimit<Uuid>> {
        let rate = Rate { per_second: self.purchases_per_member, burst: self.purchase_burst_per_member };
        Arc::new(RateLimit::new(rate))
    }

    fn per_address(&self) -> Arc<RateLimit<IpAddr>> {
        let rate = Rate { per_second: self.purchases_per_address, burst: self.purchase_burst_per_address };
        Arc::new(RateLimit::new(rate))
    }
}

/// The limits, with what they have counted; clones count together.
#[derive(Clone)]
pub(super) struct PurchaseLimits {
    per_member: Arc<RateLimit<Uuid>>,
    per_address: Arc<RateLimit<IpAddr>>,
}

impl PurchaseLimits {
    pub(super) fn new(args: &LimitArgs) -> Self {
        Self { per_member: args.per_member(), per_address: args.per_address() }
    }

    /// Counts one purchase; answers 429 `too-many-requests` when that is one too many.
    pub(super) fn admit(&self, member: Uuid, ClientAddress(address): ClientAddress) -> Result<()> {
        let from_there = address.map_or(Ok(()), |address| self.per_address.admit(network(address)));
        from_there.and_then(|()| self.per_member.admit(member)).map_err(|pause| {
            Problem::too_many_requests(pause)
                .detail("nothing was changed; try again with the same Idempotency-Key")
        })
    }
}

/// Counts look-ups of unknown ids separately, at the rates of purchases. Whoever has looked in vain too
/// often is refused before we ask anything. Finding something where its id points costs nothing.
#[derive(Clone)]
pub(super) struct LookUps {
    per_member: Arc<RateLimit<Uuid>>,
    per_address: Arc<RateLimit<IpAddr>>,
}

impl LookUps {
    pub(super) fn new(args: &LimitArgs) -> Self {
        Self { per_member: args.per_member(), per_address: args.per_address() }
    }

    /// Whether this member may look for anything; 429 `too-many-requests` if not.
    pub(super) fn allow(&self, member: Uuid) -> Result<()> {
        self.per_member.would_admit(&member).map_err(Problem::too_many_requests)
    }

    /// Counts one look-up for a member.
    pub(super) fn count(&self, member: Uuid) -> Result<()> {
        self.per_member.admit(member).map_err(Problem::too_many_requests)
    }

    /// Counts one look-up for an address. The caller need not be a member.
    pub(super) fn count_address(&self, ClientAddress(address): ClientAddress) -> Result<()> {
        let admitted = address.map_or(Ok(()), |address| self.per_address.admit(network(address)));
        admitted.map_err(Problem::too_many_requests)
    }
}
