//! The one binary of the shop's services: `rocketmart <component>`.
//!
//! Each component comes from its service's crate, with its own arguments; docs/contracts.md lists what they
//! need. Logs, metrics and the crypto provider are set up here, once, before a component starts.

mod component;
mod dead_letters;
mod event_schemas;
mod openapi;
mod rewind;

use clap::Parser;
use component::Component;
use mimalloc::MiMalloc;

/// A purchase makes about eighty small allocations, which one thread takes and another frees.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Includes the optimization level: figures of an unoptimized program are figures of another program.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (opt-level ", env!("OPT_LEVEL"), ")");

/// Rocket Mart: flash sales on Kubernetes.
#[derive(Parser)]
#[command(name = "rocketmart", version = VERSION, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    component: Component,
}

/// Runs what the command line says.
pub async fn run() -> anyhow::Result<()> {
    Cli::parse().component.run().await
}
