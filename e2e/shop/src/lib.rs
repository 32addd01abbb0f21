//! A running shop as its buyers and sellers see it, for tests: everything goes through the entrance, over
//! HTTP, and nothing here knows how the shop is made.
//!
//! ```text
//! place   where the shop is: a stack of processes on loopback, or deployed on a cluster
//!   └ Shop    requests through the entrance, answers with expectations
//!       ├ people   members: signed up by mail, or brought in by the administrator
//!       ├ goods    products, cards, addresses
//!       └ sales    flash sales: a FlashSale on a cluster, else the internal API
//! ```
//!
//! `tests/shop` asks for everything the shop offers and for what it must refuse; its rows and the tour do so
//! on a cluster as well. `tests/neighbours` stops and starts processes, so it has its own stack. So does
//! `tests/cassandra`, whose catalog has no SQL database. `tests/deployed` stops components of a shop on a
//! cluster.

#![expect(clippy::missing_panics_doc, reason = "what is not as expected fails the test that asked")]

mod answer;
mod call;
mod goods;
mod kubectl;
mod people;
mod place;
mod sales;
mod wait;

pub use answer::Answer;
pub use call::Call;
pub use goods::{DECLINED_CARD, GOOD_CARD, mug, unique};
pub use kubectl::Kubectl;
pub use people::{Member, PASSWORD};
pub use place::{Place, stack};
pub use sales::{Offer, Sale, Sales, Units};
pub use wait::{PATIENCE, eventually};

/// A shop and a client for it. Each test opens one: connections belong to the runtime that made them.
#[derive(Debug, Clone)]
pub struct Shop {
    pub place: Place,
    http: reqwest::Client,
}

impl Shop {
    /// The shop that the environment names; otherwise the stack that this process shares.
    pub async fn open() -> Self {
        let place = tokio::task::spawn_blocking(Place::find);
        Self::at(place.await.expect("no panic").expect("a shop"))
    }

    /// The shop at a given place.
    pub fn at(place: Place) -> Self {
        let mut http = reqwest::Client::builder()
            .timeout(wait::PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(address) = place.entrance_address {
            let host = place.entrance.trim_start_matches("http://");
            http = http.resolve(host, address);
        }
        Self { place, http: http.build().expect("an HTTP client") }
    }
}
