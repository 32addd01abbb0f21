use std::time::Duration;

use anyhow::Result;

use super::{Component, Recipe};
use crate::programs;

const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn a_shop_of_processes_comes_back_after_components_and_stores_were_killed() -> Result<()> {
    let program = programs::beside_this_one("rocketmart")?;
    let shop = Recipe::new(program).replicas(Component::Order, 2).env(Component::Order, "LOG_FORMAT", "json");
    let mut shop = shop.start()?;
    assert_eq!(shop.urls(Component::Order).len(), 2);
    assert!(shop.log(Component::Order, 0).starts_with('{'), "{}", shop.log(Component::Order, 0));
    let unknown = shop.internal_api().status("00000000-0000-0000-0000-000000000001").unwrap_err();
    assert!(unknown.to_string().contains("sale-unknown"), "{unknown}");

    shop.kill(Component::Order, 1)?;
    shop.stop(Component::OrderRelay, 0)?;
    shop.backing.redis.kill();
    assert!(shop.not_ready().contains(&"order 1".to_owned()));
    shop.backing.redis.restart()?;
    let revived = shop.revive()?;
    assert!(revived.len() == 1 && revived[0].starts_with("order 1"), "{revived:?}");
    shop.start(Component::OrderRelay, 0)?;
    shop.wait_until_ready(LIMIT)?;
    assert!(shop.ended()?.is_empty());
    Ok(())
}
