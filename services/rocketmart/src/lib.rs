//! What the one binary of the shop's services does: `rocketmart <component>`.
//!
//! Each component comes from its service's crate, with its own arguments; what they need is listed
//! in docs/contracts.md. Logs, metrics and the crypto provider are set up here, once, before a
//! component starts.

mod component;
mod dead_letters;
mod event_schemas;
mod openapi;
mod rewind;

use clap::Parser;
use component::Component;
use mimalloc::MiMalloc;

/// A purchase is some eighty small pieces of memory, taken by one thread and given back by another.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// With the level at which it was compiled: figures of a program that was not optimized are figures of another.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (opt-level ", env!("OPT_LEVEL"), ")");

/// Rocket Mart: flash sales on Kubernetes.
#[derive(Parser)]
#[command(name = "rocketmart", version = VERSION, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    component: Component,
}

/// Does what the command line says.
pub async fn run() -> anyhow::Result<()> {
    Cli::parse().component.run().await
}
