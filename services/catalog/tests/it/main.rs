//! The catalog as its callers see it: over HTTP, with real PostgreSQL, Cassandra and Kafka.
//!
//! There is one suite, and both stores pass it: a test is a function of an open [`shop::Shop`] and does not
//! know what is behind it. What only one store can get wrong is tested beside it. Everything runs on both, in
//! a database or keyspace of its own; use `on_cassandra` and `on_postgres` to select tests.

#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

/// Turns each function into a test on either store.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(crate::shop::Shop::on_postgres().await).await;
                }
            )+
        }
        mod on_cassandra {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(crate::shop::Shop::on_cassandra().await).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_stores;

mod bad_input;
mod cassandra;
mod contention;
mod events;
mod http;
mod marks;
mod outages;
mod owner;
mod products;
mod shop;
mod stock;
