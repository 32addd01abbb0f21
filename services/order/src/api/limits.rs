//! How many purchases may be asked for, by one member and from one network address.
//!
//! Counted in the memory of each replica, before anything is asked of Redis: a refusal has taken
//! nothing. A repetition counts as well, since it costs as much as a first try. A limit per member
//! stops scripts; one per address stops a flood of many members from one machine, and is wide, for a
//! whole company may shop from one address.

use std::net::IpAddr;
use std::sync::Arc;

use rocketmart_kit::client_address::{ClientAddress, network};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::rate_limit::{Rate, RateLimit};
use uuid::Uuid;

const PER_MEMBER: u32 = 10;
const BURST_PER_MEMBER: u32 = 20;
const PER_ADDRESS: u32 = 5_000;
const BURST_PER_ADDRESS: u32 = 10_000;
const TRUSTED_PROXIES: usize = 1;

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
}

impl Default for LimitArgs {
    fn default() -> Self {
        Self {
            purchases_per_member: PER_MEMBER,
            purchase_burst_per_member: BURST_PER_MEMBER,
            purchases_per_address: PER_ADDRESS,
            purchase_burst_per_address: BURST_PER_ADDRESS,
            trusted_proxies: TRUSTED_PROXIES,
        }
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
        let member = Rate { per_second: args.purchases_per_member, burst: args.purchase_burst_per_member };
        let address = Rate { per_second: args.purchases_per_address, burst: args.purchase_burst_per_address };
        Self { per_member: Arc::new(RateLimit::new(member)), per_address: Arc::new(RateLimit::new(address)) }
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
