//! What validation hands to the later steps: a shop that they can trust.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rocketmart_crds::{Component, ShopSpec};

use super::names;

/// A shop whose inputs exist.
pub struct ValidatedShop {
    pub name: String,
    pub namespace: String,
    pub owner: OwnerReference,
    pub image: String,
    pub public_url: String,
    pub spec: ShopSpec,
    pub replicas: BTreeMap<Component, Replicas>,
    /// Digests of the values that components take from the user's Secrets, by Secret and key.
    pub secret_digests: BTreeMap<(String, String), String>,
}

/// Who decides how many pods a component has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Replicas {
    /// The spec decides; a running sale may raise the number.
    Fixed(i32),
    /// The autoscaler decides; it starts with this many.
    Autoscaled { from: i32 },
    /// A `HorizontalPodAutoscaler` of the user's decides, this one by name. It does not scale up from zero,
    /// so we start this many.
    OfUser { by: String, from: i32 },
}

impl ValidatedShop {
    pub fn topic_prefix(&self) -> String {
        names::topic_prefix(&self.namespace, &self.name)
    }

    /// The image's tag, which is the version that people see.
    pub fn version(&self) -> String {
        version_of(&self.image)
    }
}

/// The tag of an image, or the start of its digest.
fn version_of(image: &str) -> String {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.chars().take(12).collect();
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map_or("latest", |(_, tag)| tag).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_tag_of_the_image() {
        assert_eq!(version_of("rocketmart:0.1.0"), "0.1.0");
        assert_eq!(version_of("registry.example:5000/shop/rocketmart:2"), "2");
        assert_eq!(version_of("registry.example:5000/rocketmart"), "latest");
        assert_eq!(version_of("rocketmart@sha256:0123456789abcdef"), "0123456789ab");
    }
}
