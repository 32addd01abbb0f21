//! Search: what shoppers look for among the published products.
//!
//! ```text
//!   topic `products` ──────▶ feed ──▶ stock ──▶ index (in memory) ◀── http ◀── shoppers
//!   topic `stock-levels` ──────────────┘
//! ```
//!
//! The topics are the only source. They are compacted, so they contain every product there is, and a replica
//! builds its whole index from them at start ([`feed`]). Until then it is not ready. Nothing is stored on
//! disk, replicas do not know each other, and one more replica is just one more reader. A replica accepts as
//! many searches at once as it can answer soon ([`admission`]).

pub mod admission;
pub mod api;
pub mod feed;
mod http;
mod index;
mod product;
mod stock;
