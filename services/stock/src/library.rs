//! Loads the function library into Redis if there is none, or an older one. A newer one stays: during a
//! roll-out, old replicas must not take back what new ones have brought.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::StockError;

const SOURCE: &str = include_str!("functions.lua");
/// The `VERSION` in the source.
const VERSION: i64 = 6;

pub(crate) async fn ensure(connection: &mut MultiplexedConnection) -> Result<(), StockError> {
    let installed =
        redis::cmd("FCALL_RO").arg("rocketmart_version").arg(0).query_async::<i64>(connection).await;
    match installed {
        Ok(version) if version >= VERSION => return Ok(()),
        Ok(_) => {}
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(StockError::Unavailable(error.to_string())),
    }
    redis::cmd("FUNCTION")
        .arg("LOAD")
        .arg("REPLACE")
        .arg(&*source())
        .query_async::<String>(connection)
        .await
        .map_err(|error| {
            StockError::Unavailable(format!("the function library cannot be loaded: {error}"))
        })?;
    tracing::info!(version = VERSION, "loaded the function library into Redis");
    Ok(())
}

static UNCHECKED: AtomicBool = AtomicBool::new(false);

/// Brings back the bug of giving units back without checking whether that has happened already: for a test
/// that must catch it.
pub fn release_unchecked() {
    UNCHECKED.store(true, Ordering::Relaxed);
}

fn source() -> Cow<'static, str> {
    if UNCHECKED.load(Ordering::Relaxed) { without_the_state_check().into() } else { SOURCE.into() }
}

fn without_the_state_check() -> String {
    SOURCE.replace(STATE_CHECK, "elseif false then")
}

const STATE_CHECK: &str = "elseif not OUTSTANDING[record.state] then
    return { 'already_released', record.state }";

/// Whether Redis does not know the function that we called.
pub(crate) fn is_missing(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && says_missing(error.detail().unwrap_or_default())
}

/// Whether this text is how Redis says that it does not know a function.
pub(crate) fn says_missing(text: &str) -> bool {
    text.contains("Function not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_known_to_the_client_is_the_one_in_the_source() {
        assert!(SOURCE.contains(&format!("\nlocal VERSION = {VERSION}\n")));
    }

    #[test]
    fn the_check_that_a_known_bug_takes_out_is_in_the_source() {
        assert!(SOURCE.contains(STATE_CHECK));
        assert!(!without_the_state_check().contains("already_released"));
    }
}
