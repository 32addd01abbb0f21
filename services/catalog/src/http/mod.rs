//! The catalog over HTTP: products for everyone, changes for their sellers, marks for members.
//!
//! A handler reads *who asks, what is there, what becomes of it*. Everything about storing is behind the
//! [`ProductStore`].

mod etag;
mod marks;
mod products;
mod viewer;

use std::sync::Arc;

use axum::extract::FromRef;
use rocketmart_kit::auth::Verifier;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::availability::Availability;
use crate::store::ProductStore;

/// What the handlers share.
#[derive(Clone)]
pub struct Catalog {
    pub store: Arc<dyn ProductStore>,
    pub availability: Arc<Availability>,
    pub verifier: Verifier,
}

impl FromRef<Catalog> for Verifier {
    fn from_ref(catalog: &Catalog) -> Self {
        catalog.verifier.clone()
    }
}

/// All routes, still without their state, so that the OpenAPI document needs none.
pub(crate) fn routes() -> OpenApiRouter<Catalog> {
    OpenApiRouter::new()
        .routes(routes!(products::list, products::create))
        .routes(routes!(products::show, products::edit, products::delete))
        .routes(routes!(products::publish))
        .routes(routes!(products::withdraw))
        .routes(routes!(products::adjust_stock))
        .routes(routes!(marks::likes))
        .routes(routes!(marks::like, marks::unlike))
        .routes(routes!(marks::wishlist))
        .routes(routes!(marks::wish, marks::unwish))
}
