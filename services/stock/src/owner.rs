//! Which shop owns a Redis.
//!
//! Two shops on one Redis would carry each other's reservations to their own books. So a Redis belongs to the
//! first shop that reaches it, and a client of another shop opens no connection to it:
//!
//! ```text
//!   a new connection, and each look at the run ──▶ rocketmart_shop() ──▶ this shop: go on
//!                                                        │           └─▶ another:   refused, by name
//!                                                        └ no such function: load it, and ask again
//! ```
//! The claim is a function library of its own, with one function that returns the shop's name. Loading it is
//! atomic and fails if there is one already, so if two shops try at once, one gets it. It is written to the
//! log and reaches replicas as data does, and each master of a cluster has its own. It outlives `FLUSHALL`: a
//! shop that loses its data that way does not lose its Redis to a neighbour as well. `FUNCTION DELETE
//! rocketmart_shop` gives the Redis up.

use std::sync::Arc;

use redis::RedisError;
use redis::aio::MultiplexedConnection;

use crate::error::StockError;
use crate::library;

/// How a refusal begins.
const BELONGS: &str = "this Redis belongs to the shop ";
/// Longest name of a shop.
const LONGEST: usize = 512;

/// A shop that wants a Redis to itself.
#[derive(Clone, Debug)]
pub(crate) struct Owner(Arc<str>);

impl Owner {
    /// `shop` stays the same for the whole life of the shop and belongs to no other, such as
    /// `namespace/name`.
    pub(crate) fn new(shop: &str) -> Result<Self, StockError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"./_-".contains(&byte);
        if shop.is_empty() || shop.len() > LONGEST || !shop.bytes().all(fits) {
            let detail = format!(
                "the shop's id has to be 1 to {LONGEST} letters, digits, `.`, `/`, `_` or `-`, not `{shop}`"
            );
            return Err(StockError::Unavailable(detail));
        }
        Ok(Self(shop.into()))
    }

    /// Claims the database `db` behind the connection for this shop if nobody owns it; refuses it if another
    /// shop does.
    pub(crate) async fn claim(
        &self,
        connection: &mut MultiplexedConnection,
        db: i64,
    ) -> Result<(), StockError> {
        let name = function(db);
        let owner = match owner(connection, &name).await {
            Err(error) if library::is_missing(&error) => {
                let mut load = redis::cmd("FUNCTION");
                load.arg("LOAD").arg(self.source(&name));
                match load.query_async::<String>(connection).await {
                    Ok(_) => tracing::info!(shop = &*self.0, "this Redis is claimed for the shop"),
                    // Somebody was faster; perhaps another process of this shop.
                    Err(error) if error.detail().is_some_and(|text| text.contains("already exists")) => {}
                    Err(error) => return Err(unknown(&error)),
                }
                owner(connection, &name).await
            }
            answer => answer,
        };
        let owner = owner.map_err(|error| unknown(&error))?;
        if owner == *self.0 {
            return Ok(());
        }
        Err(StockError::Unavailable(format!("{BELONGS}{owner}, and this is {}", self.0)))
    }

    fn source(&self, name: &str) -> String {
        format!(
            "#!lua name={name}\nredis.register_function {{ function_name = '{name}', callback = function() \
             return '{}' end, flags = {{ 'no-writes' }} }}",
            self.0
        )
    }
}

/// Whether a Redis was refused because it belongs to another shop.
pub(crate) fn is_refusal(error: &StockError) -> bool {
    matches!(error, StockError::Unavailable(detail) if detail.starts_with(BELONGS))
}

/// All databases of a server share its functions, but not its keys.
fn function(db: i64) -> String {
    if db == 0 { "rocketmart_shop".to_owned() } else { format!("rocketmart_shop_{db}") }
}

async fn owner(connection: &mut MultiplexedConnection, function: &str) -> Result<String, RedisError> {
    redis::cmd("FCALL_RO").arg(function).arg(0).query_async(connection).await
}

fn unknown(error: &RedisError) -> StockError {
    StockError::Unavailable(format!("whose Redis it is cannot be found out: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shops_id_cannot_end_the_text_it_stands_in() {
        for refused in ["", "a'b", "a\\", "a\nb", "ä", &"a".repeat(LONGEST + 1)] {
            assert!(Owner::new(refused).is_err(), "{refused:?}");
        }
        assert!(Owner::new("rocket-mart/rocket.mart_1").is_ok());
    }
}
