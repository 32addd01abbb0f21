//! Objects of others that stand where the shop's should.
//!
//! Server-side apply takes over whatever has the name, and from then on it would be changed with the shop and go
//! with it: a Shop named `default` would take the namespace's `ServiceAccount` along. So before anything is written,
//! each child that is not there as the shop's own is looked for. Ours is what the shop owns by its uid; what an
//! earlier shop of the same name has left is not, and goes by itself soon.

use std::fmt::Debug;

use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{build::Children, facts::Live, problem::Problem, validated_shop::ValidatedShop};
use crate::Context;

/// An object of a child's name could not be looked for.
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

/// A problem for each object that has the name of a child and is none.
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
    /// Of one kind. What is live and the shop's needs no second look.
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
