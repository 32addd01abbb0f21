//! A running shop as its buyers and sellers see it, for tests: everything goes through the entrance,
//! over HTTP, and nothing is known of how the shop is made.
//!
//! ```text
//! place   where the shop is: a stack of processes on loopback
//!   └ Shop    requests through the entrance, answers with expectations
//!       ├ people   members: signed up by mail, or brought in by the administrator
//!       ├ goods    products, cards, addresses
//!       └ sales    flash sales, through the operator's side door
//! ```
//!
//! `tests/shop` asks for everything the shop offers, and for what it must refuse; `tests/neighbours`
//! stops and starts processes, so it has a stack of its own.

#![expect(clippy::missing_panics_doc, reason = "what is not as expected fails the test that asked")]

mod answer;
mod call;
mod goods;
mod people;
mod place;
mod sales;
mod wait;

pub use answer::Answer;
pub use call::Call;
pub use goods::{DECLINED_CARD, GOOD_CARD, mug, unique};
pub use people::{Member, PASSWORD};
pub use place::{Place, stack};
pub use sales::{Offer, Sale, Units};
pub use wait::{PATIENCE, eventually};

/// A shop and a client of it. Each test opens one: connections belong to the runtime that made them.
#[derive(Debug, Clone)]
pub struct Shop {
    pub place: Place,
    http: reqwest::Client,
}

impl Shop {
    /// The stack that this process shares.
    pub async fn open() -> Self {
        let place = tokio::task::spawn_blocking(|| stack().map(|stack| Place::of(&stack.blocking_lock())));
        Self::at(place.await.expect("no panic").expect("a shop"))
    }

    /// A shop at a given place.
    pub fn at(place: Place) -> Self {
        let http = reqwest::Client::builder()
            .timeout(wait::PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("an HTTP client");
        Self { place, http }
    }
}
