//! `rocketmart-operator`: see the library.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = rocketmart_operator::Config::parse();
    rocketmart_operator::run(config).await
}
