//! `rocketmart` with crashes and bugs on purpose, for `cargo xtask faults`; never in an image.
//!
//! `ROCKETMART_FAILPOINT=<place>=<chance>` ends the process as SIGKILL would, each time it reaches the place,
//! with that chance. `ROCKETMART_BUG=<name>` puts back a bug that the faults must catch.

use rocketmart_kit::failpoint::{self, Sabotage};

const RELEASE_UNCHECKED: &str = "release-unchecked";
const ANY_REDIS_SETTINGS: &str = "any-redis-settings";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    failpoint::install(Sabotage { reach, has_bug });
    if has_bug(RELEASE_UNCHECKED) {
        rocketmart_stock::release_unchecked();
    }
    if has_bug(ANY_REDIS_SETTINGS) {
        rocketmart_stock::believe_any_settings();
    }
    rocketmart::run().await
}

fn reach(place: &str) {
    if let Ok(setting) = std::env::var("ROCKETMART_FAILPOINT")
        && let Some((wanted, chance)) = setting.split_once('=')
        && wanted == place
        && rand::random_bool(chance.parse().unwrap_or_default())
    {
        tracing::warn!(place, "dying on purpose");
        std::process::abort();
    }
}

fn has_bug(name: &str) -> bool {
    std::env::var("ROCKETMART_BUG").is_ok_and(|bug| bug == name)
}
