//! The one binary of the shop's services: `rocketmart <component>`.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rocketmart::run().await
}
