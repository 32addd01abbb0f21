//! The typed client of the Redis functions.
//!
//! ```text
//!   sales.rs         load, state, counters, purge         what the operator does
//!   reservations.rs  reserve, get, scan                   what buyers do first
//!   payments.rs      prepare, submit                      what buyers do next
//!   settlement.rs    confirm, release, cancel, expire     what decides a reservation
//!   events.rs        read, trim                           what the relay carries on
//!   vouching.rs      session, vouch, revoke               whether Redis has lost something
//!   durability.rs    durability                           whether it is set to lose something
//!   restore.rs       restore                              what a sale that was lost is rebuilt by
//!   forgetting.rs    scan keys, forget                    what the standing stock outgrows
//! ```
//! Each method is one function call, with one answer per wish, in order. You may repeat any of them: a
//! repetition changes nothing and says so.

mod durability;
mod events;
mod forgetting;
mod payments;
mod reservations;
mod restore;
mod sales;
mod settlement;
mod vouching;

use std::fmt::{Display, Write as _};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StockError;
use crate::id::SaleId;
use crate::owner::Owner;
use crate::route::Route;
use crate::sale::{ItemSpec, SaleSpec};
use crate::server::{Server, Trusted};
use crate::sold_out::SoldOutMarks;
use crate::{keys, library};

type Result<T, E = StockError> = std::result::Result<T, E>;

/// Long enough to sit out a disk that is slow to sync for a moment: a late answer is worth more to a buyer
/// than an unknown outcome.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Stock {
    route: Route,
    /// What the coalescer believes to be sold out. Whatever this client puts back clears it.
    pub(crate) sold_out: SoldOutMarks,
}

impl Stock {
    /// Prepares a client of the Redis at `url`. It connects on first use, and again whenever needed.
    pub fn connect(url: &str) -> Result<Self> {
        Self::with_response_timeout(url, RESPONSE_TIMEOUT)
    }

    /// The same, but an answer may take up to `limit` instead of 5 s.
    pub fn with_response_timeout(url: &str, limit: Duration) -> Result<Self> {
        Self::prepare(&Server::Url(url.to_owned(), Trusted::Public), None, limit)
    }

    /// The same for a Redis of any kind.
    pub fn connect_to(server: &Server) -> Result<Self> {
        Self::prepare(server, None, RESPONSE_TIMEOUT)
    }

    /// The same for a shop that wants the Redis to itself. A Redis that nobody owns becomes this shop's, and
    /// one that another shop owns is not asked for anything. `shop` is the same for the whole life of the
    /// shop, and belongs to no other.
    pub fn of_shop(server: &Server, shop: &str) -> Result<Self> {
        Self::prepare(server, Some(Owner::new(shop)?), RESPONSE_TIMEOUT)
    }

    fn prepare(server: &Server, owner: Option<Owner>, limit: Duration) -> Result<Self> {
        Ok(Self { route: Route::new(server, owner, limit)?, sold_out: SoldOutMarks::default() })
    }

    /// Loads the function library if Redis has none or an older one. Every new connection does this by
    /// itself, and so does every call that finds it missing.
    pub async fn ensure_functions(&self) -> Result<()> {
        for (_, connection) in self.route.all().await? {
            connection.ensure_library().await?;
        }
        Ok(())
    }

    /// Answers when Redis does. For a cluster, one master is enough: the others sell on while one is down. A
    /// master that belongs to another shop speaks for the whole cluster.
    pub async fn ping(&self) -> Result<()> {
        let mut asked = JoinSet::new();
        let connections = self.route.all().await?;
        for (_, connection) in connections.clone() {
            asked.spawn(async move { connection.query::<String>(&redis::cmd("PING")).await });
        }
        let mut outcome = Err(StockError::Unavailable("there is no master".to_owned()));
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(_)) => {
                    let refused = connections.iter().find_map(|(_, connection)| connection.refused());
                    return refused.map_or(Ok(()), Err);
                }
                Ok(Err(error)) => outcome = Err(error),
                Err(_stopped) => {}
            }
        }
        outcome
    }

    /// Calls a function of the library on one sale.
    async fn call<T: FromRedisValue>(
        &self,
        function: Function,
        sale: SaleId,
        arguments: Arguments,
    ) -> Result<T> {
        self.call_on(function, &keys::all(sale), arguments).await
    }

    async fn call_on<T: FromRedisValue>(
        &self,
        function: Function,
        keys: &[String],
        arguments: Arguments,
    ) -> Result<T> {
        let connection = self.route.to(keys.first().map_or("", String::as_str)).await?;
        call_over(&connection, function, keys, arguments).await
    }

    /// Sends a command that reads something of one sale.
    async fn query<T: FromRedisValue>(&self, sale: SaleId, command: &Cmd) -> Result<T> {
        self.route.to(&keys::SALE_HASH.of(sale)).await?.query(command).await
    }

    /// The same for several commands at once. Not atomic.
    async fn query_pipeline<T: FromRedisValue>(&self, sale: SaleId, pipeline: &Pipeline) -> Result<T> {
        self.route.to(&keys::SALE_HASH.of(sale)).await?.query_pipeline(pipeline).await
    }

    /// Sends a command about the set of all sales.
    async fn query_sales<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.route.to(keys::SALES).await?.query_writing(command).await
    }
}

async fn call_over<T: FromRedisValue>(
    connection: &Connection,
    function: Function,
    keys: &[String],
    arguments: Arguments,
) -> Result<T> {
    let mut command = redis::cmd(if function.writes { "FCALL" } else { "FCALL_RO" });
    command.arg(function.name).arg(keys.len()).arg(keys);
    arguments.append_to(&mut command);
    match send(connection, function, &command).await {
        Err(StockError::Protocol(text)) if library::says_missing(&text) => {
            connection.ensure_library().await?;
            send(connection, function, &command).await
        }
        answer => answer,
    }
}

async fn send<T: FromRedisValue>(connection: &Connection, function: Function, command: &Cmd) -> Result<T> {
    if function.writes { connection.query_writing(command).await } else { connection.query(command).await }
}

#[derive(Debug, Clone, Copy)]
struct Function {
    name: &'static str,
    writes: bool,
}

impl Function {
    const fn new(name: &'static str) -> Self {
        Self { name, writes: true }
    }

    const fn reading(name: &'static str) -> Self {
        Self { name, writes: false }
    }
}

/// The arguments of a function, all as text, one after the other in one piece of memory: a call has thousands
/// of them.
#[derive(Debug, Default)]
struct Arguments {
    texts: String,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Arguments {
    fn with(mut self, value: impl Display) -> Self {
        self.push(value);
        self
    }

    fn push(&mut self, value: impl Display) {
        // Writing to memory does not fail.
        let _ = write!(self.texts, "{value}");
        self.ends.push(self.texts.len());
    }

    fn push_text(&mut self, text: &str) {
        self.texts.push_str(text);
        self.ends.push(self.texts.len());
    }

    fn push_id(&mut self, id: Uuid) {
        self.push_text(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }

    /// An absent value becomes the empty text.
    fn push_optional(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.push(value),
            None => self.ends.push(self.texts.len()),
        }
    }

    /// The terms of a sale, in the order in which the functions read them. Its items follow.
    fn push_terms(&mut self, spec: &SaleSpec) {
        self.push_text(&spec.name);
        self.push_text(&spec.currency);
        self.push(spec.opens_at_ms);
        self.push_optional(spec.closes_at_ms);
        self.push(spec.payment_seconds);
    }

    fn push_item(&mut self, item: &ItemSpec) {
        self.push_text(&item.sku);
        self.push(item.units);
        self.push(item.price);
        self.push_optional(item.per_buyer_limit);
    }

    fn append_to(&self, command: &mut Cmd) {
        let mut from = 0;
        for &end in &self.ends {
            command.arg(self.texts.as_bytes().get(from..end).unwrap_or_default());
            from = end;
        }
    }
}

/// A trace context that is safe to copy into an event: `00-<32 hex>-<16 hex>-<2 hex>`.
fn well_formed_trace(traceparent: Option<&str>) -> Option<&str> {
    let well_formed = |text: &&str| {
        text.len() == 55
            && text.bytes().enumerate().all(|(at, byte)| match at {
                2 | 35 | 52 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    traceparent.filter(well_formed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_arrive_one_by_one_and_an_absent_one_is_empty() {
        let mut arguments = Arguments::default().with(7);
        arguments.push_optional(None::<u8>);
        arguments.push_id(Uuid::nil());
        arguments.push_text("x");
        let mut command = redis::cmd("FCALL");
        arguments.append_to(&mut command);
        let mut expected = redis::cmd("FCALL");
        expected.arg("7").arg("").arg(Uuid::nil().to_string()).arg("x");
        assert_eq!(command.get_packed_command(), expected.get_packed_command());
    }

    #[test]
    fn a_malformed_trace_context_is_left_out() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(well_formed_trace(Some(good)), Some(good));
        for bad in ["", "\"},{\"t\":\"forged", &good[1..], &good.replace('-', "\""), &good.replace('0', "\\")]
        {
            assert_eq!(well_formed_trace(Some(bad)), None, "{bad}");
        }
    }
}
