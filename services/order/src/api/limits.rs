//! How many purchases may be asked for, by one member and from one network address; how many orders and
//! sales may be looked for that memory does not know, which anybody can invent; and how much a member may hold
//! unpaid.
//!
//! The former are counted in the memory of each replica, before anything is asked of Redis: a refusal has taken
//! nothing. A repetition counts as well, since it costs as much as a first try. A limit per member
//! stops scripts; one per address stops a flood of many members from one machine, and is wide, for a
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

/// The limits with what they have counted; clones count together.
#[derive(Clone)]
pub(super) struct PurchaseLimits {
    per_member: Arc<RateLimit<Uuid>>,
    per_address: Arc<RateLimit<IpAddr>>,
}

impl PurchaseLimits {
    pub(super) fn new(args: &LimitArgs) -> Self {
        Self { per_member: args.per_member(), per_address: args.per_address() }
    }

    /// Counts one purchase; 429 `too-many-requests` when that is one too many.
    pub(super) fn admit(&self, member: Uuid, ClientAddress(address): ClientAddress) -> Result<()> {
        let from_there = address.map_or(Ok(()), |address| self.per_address.admit(network(address)));
        from_there.and_then(|()| self.per_member.admit(member)).map_err(|pause| {
            Problem::too_many_requests(pause)
                .detail("nothing was changed; try again with the same Idempotency-Key")
        })
    }
}

/// Looks for what is not known, counted by themselves at the rates of purchases: one who has looked in vain too
/// often is refused before anything is asked for. What is found where its id points costs nothing.
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

    /// Counts one for a member.
    pub(super) fn count(&self, member: Uuid) -> Result<()> {
        self.per_member.admit(member).map_err(Problem::too_many_requests)
    }

    /// Counts one for an address, of somebody who need not be a member.
    pub(super) fn count_address(&self, ClientAddress(address): ClientAddress) -> Result<()> {
        let admitted = address.map_or(Ok(()), |address| self.per_address.admit(network(address)));
        admitted.map_err(Problem::too_many_requests)
    }
}
