//! Everything that has to exist before a node can start, made once and kept in the [cache].
//!
//! ```text
//! Debian packages ─┬─ Kubernetes, Helm, Contour (Go module proxy) ─┐
//!                  ├─ Envoy (Python package), Kafka (Maven) ───────┼─ images (buildah) ── Prepared
//!                  └─ base image (mmdebstrap) ─────────────────────┘
//! ```
//!
//! Every step asks only the package registries. A step with nothing to do says nothing. One that works prints
//! a line with its time, has a limit, and fails with the end of its log.
//!
//! [cache]: crate::cache

mod base;
mod crates;
mod debian;
mod envoy;
mod forge;
mod go;
mod images;
mod schemathesis;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use self::{
    crates::CargoTool,
    envoy::binary as envoy,
    forge::check_what_runs_elsewhere,
    go::{
        Contour, KUBERNETES_VERSION, contour, gateway_definitions, helm, http_route_definition,
        kubernetes_binaries, prometheus_operator_definitions,
    },
    images::{Image, cassandra_image, rocketmart_image},
    schemathesis::{python, schemathesis},
};
use crate::programs::Speed;

/// What a node is made from.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The folder with the binaries of Kubernetes.
    pub kubernetes: PathBuf,
    pub helm: PathBuf,
    /// The folder with Contour's own manifests.
    pub contour_manifests: PathBuf,
    /// The kinds of the Gateway API.
    pub gateway_definitions: PathBuf,
    /// The images of the node, its ingress, the backing services and, after [`all`], our own.
    pub images: Vec<Image>,
}

/// Prepares everything: the node, the backing services and our own image.
pub fn all(speed: Speed) -> Result<Prepared> {
    let mut prepared = node()?;
    prepared.images.push(rocketmart_image(speed)?);
    Ok(prepared)
}

/// Prepares the node and the backing services, without building any of our own programs.
pub fn node() -> Result<Prepared> {
    packages()?;
    let kubernetes = kubernetes_binaries()?;
    let helm = helm()?;
    let contour = contour()?;
    let mut images = images::of_the_node(&kubernetes, &contour)?;
    images.extend(images::of_the_backing_services()?);
    let gateway_definitions = gateway_definitions()?;
    Ok(Prepared { kubernetes, helm, contour_manifests: contour.manifests(), gateway_definitions, images })
}

/// Prepares the images that another cluster needs: those of the backing services, and our own.
pub fn shop_images() -> Result<Vec<Image>> {
    packages()?;
    let mut images = images::of_the_backing_services()?;
    images.push(rocketmart_image(Speed::AsTested)?);
    Ok(images)
}

/// Prepares what the tests without a node need: servers as plain processes and an API server.
pub fn for_tests() -> Result<()> {
    packages()?;
    crate::maven::libraries("kafka")?;
    crate::maven::libraries("cassandra")?;
    schemathesis::packages()?;
    http_route_definition()?;
    prometheus_operator_definitions()?;
    go::readers()?;
    kubernetes_binaries().map(drop)
}

/// Installs the missing Debian packages, including those of the service tests.
pub fn packages() -> Result<()> {
    debian::install_missing()
}

/// The root of the checkout.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the output of a preparing step goes.
fn log(step: &str) -> PathBuf {
    crate::cache::root().join("logs").join(format!("{step}.log"))
}
