//! How many requests one member and one network address may send to a service. It is the same for every
//! service that has no narrower limits of its own.
//!
//! ```text
//! request ──▶ its address: middleware, before anything is read ──▶ its member: once the token is verified ──▶ handler
//! ```
//!
//! We count a member where the token is verified, never by what a token claims: otherwise anybody could use
//! up somebody else's requests. One address may be a whole company, so its limit is wide.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use uuid::Uuid;

use crate::client_address::{TrustedProxies, network, vouched_for};
use crate::problem::{Problem, Result};
use crate::rate_limit::{Rate, RateLimit};

const PER_MEMBER: u32 = 100;
const BURST_PER_MEMBER: u32 = 1_000;
const PER_ADDRESS: u32 = 5_000;
const BURST_PER_ADDRESS: u32 = 10_000;
const TRUSTED_PROXIES: usize = 1;

/// Against floods; of each replica.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RequestLimitArgs {
    /// Requests of a member per second in the long run; 0: unlimited.
    #[arg(long, env = "REQUESTS_PER_MEMBER", default_value_t = PER_MEMBER)]
    pub requests_per_member: u32,
    /// Requests of a member at once.
    #[arg(long, env = "REQUEST_BURST_PER_MEMBER", default_value_t = BURST_PER_MEMBER)]
    pub request_burst_per_member: u32,
    /// Requests from one address per second in the long run; 0: unlimited.
    #[arg(long, env = "REQUESTS_PER_ADDRESS", default_value_t = PER_ADDRESS)]
    pub requests_per_address: u32,
    /// Requests from one address at once.
    #[arg(long, env = "REQUEST_BURST_PER_ADDRESS", default_value_t = BURST_PER_ADDRESS)]
    pub request_burst_per_address: u32,
    /// How many proxies of ours append to `X-Forwarded-For` before a request gets here; 0: clients
    /// come directly and their addresses are not looked at.
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = TRUSTED_PROXIES)]
    pub trusted_proxies: usize,
}

impl Default for RequestLimitArgs {
    fn default() -> Self {
        Self {
            requests_per_member: PER_MEMBER,
            request_burst_per_member: BURST_PER_MEMBER,
            requests_per_address: PER_ADDRESS,
            request_burst_per_address: BURST_PER_ADDRESS,
            trusted_proxies: TRUSTED_PROXIES,
        }
    }
}

/// A service's limits and what they have counted. Clones count together.
#[derive(Clone)]
pub(crate) struct RequestLimits {
    per_address: Arc<RateLimit<IpAddr>>,
    proxies: TrustedProxies,
    pub(crate) per_member: MemberLimit,
}

/// The part that travels with a request to where its token is verified.
#[derive(Clone)]
pub(crate) struct MemberLimit(Arc<RateLimit<Uuid>>);

impl RequestLimits {
    pub(crate) fn new(args: &RequestLimitArgs) -> Self {
        let member = Rate { per_second: args.requests_per_member, burst: args.request_burst_per_member };
        let address = Rate { per_second: args.requests_per_address, burst: args.request_burst_per_address };
        Self {
            per_address: Arc::new(RateLimit::new(address)),
            proxies: TrustedProxies(args.trusted_proxies),
            per_member: MemberLimit(Arc::new(RateLimit::new(member))),
        }
    }

    /// Counts one request by its address; 429 `too-many-requests` if it is one too many.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<()> {
        let address = vouched_for(headers, self.proxies.0);
        let admitted = address.map_or(Ok(()), |address| self.per_address.admit(network(address)));
        admitted.map_err(|pause| Problem::too_many_requests(pause).detail("too much comes from one address"))
    }
}

impl MemberLimit {
    /// Counts one request of a member whose token was verified.
    pub(crate) fn admit(&self, member: Uuid) -> Result<()> {
        self.0.admit(member).map_err(Problem::too_many_requests)
    }
}
