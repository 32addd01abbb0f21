//! The people and the products of the shop, made once for all rows.

use anyhow::{Context, Result};
use rocketmart_harness::stack::{self, Component};
use rocketmart_loadtest::{
    client::Client,
    people::{Person, Product, Town as Makers},
};

use crate::{canary::Canary, world::World};

/// What shoppers compete for.
pub const ROCKET: &str = "ROCKET";
/// What the canary buys: never sold out.
pub const SEED: &str = "BIRDSEED";
pub const PRICE: i64 = 19_900;
pub const CURRENCY: &str = "KRW";
/// More than all rows and rounds of a night will sell.
const SUPPLY: u32 = 2_000_000;
const SHOPPERS: usize = 2_500;
const CANARIES: usize = 20;

#[derive(Debug, Clone)]
pub struct Town {
    pub shop: Client,
    pub provider: Client,
    pub shoppers: Vec<Person>,
    pub canaries: Vec<Canary>,
}

impl Town {
    pub async fn settle(world: &World) -> Result<Self> {
        let (routes, mail, provider) = world.with_stack(|stack| {
            (stack.routes(), stack.url(Component::SimulateMail), stack.url(Component::SimulateProvider))
        });
        let shop = Client::routed(routes);
        let makers = Makers {
            shop: shop.clone(),
            mail: Client::new(&mail, None)?,
            run: format!("{:x}", time::OffsetDateTime::now_utc().unix_timestamp()),
        };
        let seller = makers.sign_up("seller", "seller").await.context("the seller")?;
        for (sku, title) in [(ROCKET, "Rocket, limited edition"), (SEED, "Seed for canaries")] {
            let product = Product {
                sku: sku.to_owned(),
                title: title.to_owned(),
                price: PRICE,
                currency: CURRENCY.to_owned(),
                quantity: SUPPLY,
            };
            makers.publish(&seller, &product).await?;
        }
        let administrator = makers.administrator(stack::ADMIN_EMAIL, stack::ADMIN_PASSWORD).await?;
        let mut shoppers = makers.import(&administrator, SHOPPERS + CANARIES).await?;
        let provider = Client::new(&provider, None)?;
        let mut canaries = Vec::new();
        for person in shoppers.split_off(SHOPPERS) {
            canaries.push(Canary::with_card_and_home(person, &shop, &provider).await?);
        }
        Ok(Self { shop, provider, shoppers, canaries })
    }
}
