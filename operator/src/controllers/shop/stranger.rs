//! Other people's objects where the shop's own should be.
//!
//! Server-side apply takes over whatever has the name. From then on the object would change with the shop
//! and be deleted with it: a Shop named `default` would take the namespace's `ServiceAccount` along. So
//! before we write anything, we look for each child that does not exist as the shop's own. A child is ours
//! when the shop owns it by uid. What an earlier shop of the same name left behind is not ours, and goes by
//! itself soon.

use std::fmt::Debug;

use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{build::Children, facts::Live, problem::Problem, validated_shop::ValidatedShop};
use crate::Context;

/// We could not look for an object of a child's name.
#[derive(Debug, thiserror::Error)]
#[error("looking for {kind} {name}: {source}")]
pub struct Error {
    kind: String,
    name: String,
    source: kube::Error,
}

/// Whether an object belongs to the shop.
pub(super) fn is_of(shop: &ValidatedShop, object: &impl ResourceExt) -> bool {
    object.owner_references().iter().any(|owner| owner.uid == shop.owner.uid)
}

/// Reports a problem for each object that has the name of a child but is not one.
pub(super) async fn strangers(
    shop: &ValidatedShop,
    children: &Children,
    live: &Live,
    context: &Context,
) -> Result<Vec<Problem>, Error> {
    let look = Look { shop, context };
    let account = std::slice::from_ref(&children.service_account);
    let mut found = look.at(account, &live.service_accounts).await?;
    found.extend(look.at(&children.config_maps, &live.config_maps).await?);
    found.extend(look.at(&children.network_policies, &live.network_policies).await?);
    found.extend(look.at(&children.services, &live.services).await?);
    found.extend(look.at(&children.deployments, &live.deployments).await?);
    found.extend(look.at(&children.pod_disruption_budgets, &live.pod_disruption_budgets).await?);
    found.extend(look.at(&children.ingresses, &live.ingresses).await?);
    if let Some(live) = &live.http_routes {
        found.extend(look.at(&children.http_routes, live).await?);
    }
    Ok(found)
}

struct Look<'a> {
    shop: &'a ValidatedShop,
    context: &'a Context,
}

impl Look<'_> {
    /// The strangers of one kind. A live object of the shop needs no second look.
    async fn at<K>(&self, wanted: &[K], live: &[K]) -> Result<Vec<Problem>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = self.context.namespaced::<K>(&self.shop.namespace);
        let kind = K::kind(&());
        let mut found = Vec::new();
        for name in wanted.iter().map(ResourceExt::name_any) {
            if live.iter().any(|old| old.name_any() == name && is_of(self.shop, old)) {
                continue;
            }
            let other = api.get_metadata_opt(&name).await.map_err(|source| Error {
                kind: kind.to_string(),
                name: name.clone(),
                source,
            })?;
            if other.is_some_and(|other| !is_of(self.shop, &other)) {
                let message = format!(
                    "{kind} {name} is not of this shop and is left alone; the shop needs the name: delete or rename \
                     what has it, or give the Shop another name"
                );
                found.push(Problem { reason: "NameTaken", message });
            }
        }
        Ok(found)
    }
}
