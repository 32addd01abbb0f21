//! The people and products of the shop, made once for all rows.

use anyhow::{Context, Result};
use rocketmart_harness::stack::{self, Component};
use rocketmart_loadtest::{
    client::Client,
    people::{Person, Product, Town},
};

use crate::{
    probe::ProbeBuyer,
    products::{CURRENCY, PRICE, PROBE, ROCKET},
    world::World,
};

/// More than all rows and rounds of a night sell.
const SUPPLY: u32 = 2_000_000;
const SHOPPERS: usize = 2_500;
const PROBE_BUYERS: usize = 20;

/// What a run finds in the shop: its buyers, and the way to it.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub shop: Client,
    pub provider: Client,
    pub shoppers: Vec<Person>,
    pub probe_buyers: Vec<ProbeBuyer>,
}

impl Fixture {
    pub async fn make(world: &World) -> Result<Self> {
        let (routes, mail, provider) = world.with_stack(|stack| {
            (stack.routes(), stack.url(Component::SimulateMail), stack.url(Component::SimulateProvider))
        });
        let shop = Client::routed(routes);
        let town = Town {
            shop: shop.clone(),
            mail: Client::new(&mail, None)?,
            run: format!("{:x}", time::OffsetDateTime::now_utc().unix_timestamp()),
        };
        let seller = town.sign_up("seller", "seller").await.context("the seller")?;
        for (sku, title) in [(ROCKET, "Rocket, limited edition"), (PROBE, "What probe buyers buy")] {
            let product = Product {
                sku: sku.to_owned(),
                title: title.to_owned(),
                price: PRICE,
                currency: CURRENCY.to_owned(),
                quantity: SUPPLY,
            };
            town.publish(&seller, &product).await?;
        }
        let administrator = town.administrator(stack::ADMIN_EMAIL, stack::ADMIN_PASSWORD).await?;
        let mut shoppers = town.import(&administrator, SHOPPERS + PROBE_BUYERS).await?;
        let provider = Client::new(&provider, None)?;
        let mut probe_buyers = Vec::new();
        for person in shoppers.split_off(SHOPPERS) {
            probe_buyers.push(ProbeBuyer::with_card_and_home(person, &shop, &provider).await?);
        }
        Ok(Self { shop, provider, shoppers, probe_buyers })
    }
}
