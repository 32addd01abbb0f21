//! Search: what shoppers look for among the published products.
//!
//! ```text
//!   topic `products` ──────▶ feed ──▶ stock ──▶ index (in memory) ◀── http ◀── shoppers
//!   topic `stock-levels` ──────────────┘
//! ```
//!
//! The topics are the only source: they are compacted, so they hold every product there is, and a replica
//! builds its whole index from them on start ([`feed`]). Until that is done it is not ready. Nothing
//! is kept on disk, replicas know nothing of each other, and one more is one more reader. A replica takes as many
//! searches at once as it can answer soon ([`admission`]).

pub mod admission;
pub mod api;
pub mod feed;
mod http;
mod index;
mod product;
mod stock;
