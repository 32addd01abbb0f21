//! Where the shop is: a stack of processes on loopback, started once per test process; it ends with the
//! process.

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use rocketmart_harness::{
    programs,
    stack::{self, Component, Recipe, SideDoor, Stack},
};
use tokio::sync::Mutex;

/// The addresses of a running shop.
#[derive(Debug, Clone)]
pub struct Place {
    /// Base URL of the entrance.
    pub entrance: String,
    pub mail: String,
    pub provider: String,
    /// E-mail and password.
    pub administrator: (String, String),
    /// The order service by itself: there is no operator here, so sales go through its side door.
    pub order: String,
    pub side_door: SideDoor,
}

impl Place {
    /// The shop that a stack is.
    pub fn of(stack: &Stack) -> Self {
        Self {
            entrance: stack.url(Component::SimulateEntrance),
            mail: stack.url(Component::SimulateMail),
            provider: stack.url(Component::SimulateProvider),
            administrator: (stack::ADMIN_EMAIL.into(), stack::ADMIN_PASSWORD.into()),
            order: stack.url(Component::Order),
            side_door: stack.side_door(),
        }
    }
}

/// The stack that all tests of this process share, started at first use; blocks meanwhile. The carrier
/// hurries, so that a delivery is seen from beginning to end, and all of the world may come from one
/// address.
pub fn stack() -> Result<&'static Mutex<Stack>> {
    static SHARED: OnceLock<Result<Mutex<Stack>, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| start().map(Mutex::new).map_err(|error| format!("{error:#}")));
    shared.as_ref().map_err(|error| anyhow!("a shop on loopback: {error}"))
}

fn start() -> Result<Stack> {
    Recipe::new(programs::beside_this_one("rocketmart")?)
        .env(Component::DeliveryWorker, "CARRIER_STEP_SECONDS", "1")
        .env(Component::Member, "ATTEMPTS_PER_ADDRESS", "0")
        .start()
}
