//! Where the shop is.
//!
//! The environment says where a shop on a cluster is. `cargo xtask test deployed` sets it, and `cargo xtask
//! shell` opens a shell with it:
//!
//! | variable | what |
//! |---|---|
//! | `SHOP`, `SHOP_ADDRESS` | the entrance: its URL, and the address behind the URL's host name |
//! | `MAIL`, `PROVIDER` | the mail sink and the payment provider |
//! | `ADMIN_EMAIL`, `ADMIN_PASSWORD` | the first administrator |
//! | `KUBECTL`, `SHOP_NAMESPACE`, `SHOP_NAME` | what applies a FlashSale, and for which Shop |
//!
//! Without `SHOP_ADDRESS` it is a stack of processes on loopback, started once per test process; it ends with
//! the process.

use std::{env, net::SocketAddr, sync::OnceLock};

use anyhow::{Context, Result, anyhow};
use rocketmart_harness::{
    programs,
    stack::{self, Component, Recipe, Stack},
};
use tokio::sync::Mutex;

use crate::{Kubectl, Sales};

/// The addresses of a running shop.
#[derive(Debug, Clone)]
pub struct Place {
    /// Base URL of the entrance.
    pub entrance: String,
    /// The address behind its host name, which no name server may know.
    pub entrance_address: Option<SocketAddr>,
    pub mail: String,
    pub provider: String,
    /// E-mail and password.
    pub administrator: (String, String),
    pub sales: Sales,
}

impl Place {
    /// The shop that the environment names, or else that of the shared [`stack`]. Blocks while one starts.
    pub fn find() -> Result<Self> {
        match env::var("SHOP_ADDRESS") {
            Ok(address) => Self::deployed(&address),
            Err(_) => stack().map(|stack| Self::of(&stack.blocking_lock())),
        }
    }

    fn deployed(address: &str) -> Result<Self> {
        let variable = |name: &str| env::var(name).with_context(|| format!("{name} beside SHOP_ADDRESS"));
        Ok(Self {
            entrance: variable("SHOP")?,
            entrance_address: Some(address.parse().with_context(|| format!("SHOP_ADDRESS={address}"))?),
            mail: variable("MAIL")?,
            provider: variable("PROVIDER")?,
            administrator: (variable("ADMIN_EMAIL")?, variable("ADMIN_PASSWORD")?),
            sales: Sales::Operator {
                kubectl: Kubectl { program: variable("KUBECTL")?, namespace: variable("SHOP_NAMESPACE")? },
                shop: variable("SHOP_NAME")?,
            },
        })
    }

    /// The shop that a stack runs.
    pub fn of(stack: &Stack) -> Self {
        Self {
            entrance: stack.url(Component::SimulateEntrance),
            entrance_address: None,
            mail: stack.url(Component::SimulateMail),
            provider: stack.url(Component::SimulateProvider),
            administrator: (stack::ADMIN_EMAIL.into(), stack::ADMIN_PASSWORD.into()),
            sales: Sales::InternalApi { order: stack.url(Component::Order), api: stack.internal_api() },
        }
    }
}

/// The stack that all tests of this process share, started at first use; blocks meanwhile. Its carrier is in
/// a hurry, so that a test sees a delivery from beginning to end. All requests may come from one address and
/// from a few members.
pub fn stack() -> Result<&'static Mutex<Stack>> {
    static SHARED: OnceLock<Result<Mutex<Stack>, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| start().map(Mutex::new).map_err(|error| format!("{error:#}")));
    shared.as_ref().map_err(|error| anyhow!("a shop on loopback: {error}"))
}

fn start() -> Result<Stack> {
    let unhindered = [Component::Catalog, Component::Search, Component::Payment, Component::Delivery];
    let recipe = Recipe::new(programs::beside_this_one("rocketmart")?);
    let recipe = unhindered.into_iter().fold(recipe, |recipe, component| {
        recipe.env(component, "REQUESTS_PER_MEMBER", "0").env(component, "REQUESTS_PER_ADDRESS", "0")
    });
    recipe
        .env(Component::DeliveryWorker, "CARRIER_STEP_SECONDS", "1")
        .env(Component::Member, "ATTEMPTS_PER_ADDRESS", "0")
        .start()
}
