//! Step 1: find the sale's shop, the way to its order service, and how the sale stands there.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rocketmart_contracts::internal_api::{SaleStatus, Skus};
use rocketmart_crds::{FlashSale, Shop, name::can_be_a_name};

use super::doors::Doors;
use super::internal_api::{self, InternalApi};
use super::plan::{REBUILDING, REFUSED};
use super::verdicts::Trouble;
use crate::{Context, controllers::shop::names};

/// The API server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading Shop {name}: {source}")]
    Shop { name: String, source: kube::Error },
    #[error("reading Secret {name}: {source}")]
    Secret { name: String, source: kube::Error },
}

/// The reason for a sale without a shop.
pub(super) const SHOP_NOT_FOUND: &str = "ShopNotFound";

/// What is known besides the spec.
pub(super) struct Facts {
    pub(super) api: InternalApi,
    /// `None` when the shop has never heard of the sale.
    pub(super) observed: Option<SaleStatus>,
    /// What the catalog says about the SKUs. We ask only while the shop has not heard of the sale.
    pub(super) catalogue: Option<Skus>,
}

/// The outer result is the API server's, the inner one is the shop's.
pub(super) async fn dereference(
    sale: &FlashSale,
    uid: &str,
    context: &Context,
    http: &reqwest::Client,
    doors: &Doors,
) -> Result<Result<Facts, Trouble>, Error> {
    let namespace = sale.namespace().unwrap_or_default();
    let shop = sale.spec.shop.clone();
    if !can_be_a_name(&shop) {
        // This sale was stored before there was a rule. In a path, the name could mean anything.
        doors.remove(&namespace, &shop);
        return Ok(Err((SHOP_NOT_FOUND, format!("spec.shop: there can be no Shop named `{shop}`"))));
    }
    if let Some(api) = doors.known(&namespace, &shop) {
        match ask(sale, uid, api).await {
            Ok(facts) => return Ok(Ok(facts)),
            // The shop wants another token: look it up at once.
            Err(internal_api::Error::Unexpected(_)) => doors.forget(&namespace, &shop),
            // The shop may be gone; the next look will tell.
            Err(error) => {
                doors.forget(&namespace, &shop);
                return Ok(Err(obstacle(&error)));
            }
        }
    }
    // It is enough that the Shop exists; we need not be able to read it.
    let found = context
        .namespaced::<Shop>(&namespace)
        .get_metadata_opt(&shop)
        .await
        .map_err(|source| Error::Shop { name: shop.clone(), source })?;
    if found.is_none() {
        doors.remove(&namespace, &shop);
        let message = format!("spec.shop: there is no Shop `{shop}` in namespace `{namespace}`");
        return Ok(Err((SHOP_NOT_FOUND, message)));
    }
    let secret_name = names::operator_token(&shop);
    let secret = context
        .namespaced::<Secret>(&namespace)
        .get_opt(&secret_name)
        .await
        .map_err(|source| Error::Secret { name: secret_name.clone(), source })?;
    let Some(token) = secret.as_ref().and_then(token) else {
        return Ok(Err(("ShopNotReady", format!("Shop `{shop}` has no Secret `{secret_name}` yet"))));
    };
    let url = context.config.order_url.replace("{shop}", &shop).replace("{namespace}", &namespace);
    let api = InternalApi::new(http.clone(), url, token);
    let facts = ask(sale, uid, api).await;
    if let Ok(facts) = &facts {
        doors.keep(&namespace, &shop, facts.api.clone());
    }
    Ok(facts.map_err(|error| obstacle(&error)))
}

async fn ask(sale: &FlashSale, uid: &str, api: InternalApi) -> Result<Facts, internal_api::Error> {
    let observed = api.look(uid).await?;
    let unheard_of = observed.is_none() && sale.metadata.deletion_timestamp.is_none();
    let catalogue = if unheard_of { Some(api.catalogue(sale).await?) } else { None };
    Ok(Facts { api, observed, catalogue })
}

/// A failed command or look, as a reason and a message.
pub(super) fn obstacle(error: &internal_api::Error) -> Trouble {
    use internal_api::Error;
    let reason = match error {
        Error::Unavailable { .. } => "OrderServiceUnavailable",
        Error::Refused(_) => REFUSED,
        Error::StaleFence(_) => "SupersededOperator",
        Error::NotDrained => "NotDrained",
        Error::InFlight(_) => REBUILDING,
        Error::Unexpected(_) => "UnexpectedAnswer",
    };
    (reason, error.to_string())
}

fn token(secret: &Secret) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(names::OPERATOR_TOKEN)?;
    String::from_utf8(bytes.0.clone()).ok()
}
