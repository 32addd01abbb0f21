//! Whether Redis still has everything that it ever told anybody.
//!
//! After a restart, Redis decides nothing about a sale until somebody vouches for it: it may be an older copy
//! of itself. Whoever vouches says how often the sale was rebuilt, and which stream entry was the last to
//! leave Redis, as far as SQL knows. Redis compares that with what it holds.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::StreamPosition;
use crate::id::SaleId;
use crate::reply::Reply;
use crate::sale::VouchOutcome;

use super::{Arguments, Function, Result, Stock, call_over};

const SESSION: Function = Function::reading("rocketmart_session");
const VOUCH: Function = Function::new("rocketmart_vouch");
const REVOKE: Function = Function::new("rocketmart_revoke");

impl Stock {
    /// The name of this run of Redis and its functions. Another name means that sales need somebody to vouch
    /// for them. For a cluster, the names of the runs of all masters that answer. A Redis that belongs to
    /// another shop does not answer.
    pub async fn session(&self) -> Result<BTreeSet<String>> {
        let mut asked = JoinSet::new();
        for (node, connection) in self.route.all().await? {
            asked.spawn(async move {
                connection.confirm_owner().await?;
                let run: String = call_over(&connection, SESSION, &[], Arguments::default()).await?;
                Ok(if node.is_empty() { run } else { format!("{node}={run}") })
            });
        }
        let (mut runs, mut outcome) = (BTreeSet::new(), Ok(()));
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(run)) => {
                    runs.insert(run);
                }
                Ok(Err(error)) => outcome = Err(error),
                Err(_stopped) => {}
            }
        }
        if runs.is_empty() { outcome.map(|()| runs) } else { Ok(runs) }
    }

    /// Lets Redis decide about the sale if it has all of it: it was rebuilt `incarnation` times, and the
    /// entry at `left` has left Redis. You may repeat this; a sale that somebody has vouched for is compared
    /// again.
    ///
    /// It does not vouch for a Redis that is set so that it may lose what it accepts.
    pub async fn vouch(&self, sale: SaleId, incarnation: i32, left: StreamPosition) -> Result<VouchOutcome> {
        self.ensure_safe().await?;
        let arguments = Arguments::default().with(incarnation).with(left.ms).with(left.sequence);
        self.call::<Reply>(VOUCH, sale, arguments).await?.outcome(|name, rest| {
            Ok(Some(match name {
                "vouched" => VouchOutcome::Vouched,
                "behind" => VouchOutcome::Behind(rest.text()?),
                "unknown_sale" => VouchOutcome::UnknownSale,
                _ => return Ok(None),
            }))
        })
    }

    /// Stops every decision about the sale until somebody vouches for it again.
    pub async fn revoke(&self, sale: SaleId) -> Result<()> {
        let mut reply = self.call::<Reply>(REVOKE, sale, Arguments::default()).await?;
        reply.outcome(|name, _| Ok((name == "revoked").then_some(())))
    }

    /// The clock of the Redis that decides about the sale, in Unix milliseconds.
    pub async fn now_ms(&self, sale: SaleId) -> Result<i64> {
        let (seconds, micros): (i64, i64) = self.query(sale, &redis::cmd("TIME")).await?;
        Ok(seconds * 1_000 + micros / 1_000)
    }
}
