//! The identity of the shop's pods. It has no rights: no component talks to the API server.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::shop_child;
use crate::controllers::shop::validated_shop::ValidatedShop;

pub(super) fn build(shop: &ValidatedShop) -> ServiceAccount {
    ServiceAccount {
        metadata: shop_child(shop, shop.name.clone()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
