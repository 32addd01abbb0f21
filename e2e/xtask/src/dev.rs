//! `cargo xtask dev`: the services as plain processes on loopback, with Redis, PostgreSQL and Kafka as
//! processes too. Up in seconds, ended with Ctrl-C.

use std::{thread, time::Duration};

use anyhow::{Result, bail};
use rocketmart_harness::{
    programs::Programs,
    stack::{Backing, Component, Recipe, Stack},
    step::step,
};

pub(crate) fn run() -> Result<()> {
    let programs = Programs::build()?;
    let recipe = Recipe::new(programs.program("rocketmart")?).fixed_ports();
    let backing = step("Redis, PostgreSQL and Kafka", Backing::start)?;
    let mut shop = step("The components", || recipe.start_on(backing))?;
    for component in Component::ALL.into_iter().filter(|component| !component.is_simulator()) {
        let http =
            if component.serves_http() { format!("http {}, ", shop.url(component)) } else { String::new() };
        println!("  {:<16} {http}admin {}", component.name(), shop.admin_url(component));
    }
    println!(
        "\nEverything runs; logs are in {}.\nThe shop: {}   Mails: {}/mails   API documents: http://127.0.0.1:<port>/docs\nA tour to paste: docs/tour.md. Ctrl-C ends it.",
        shop.folder().display(),
        shop.url(Component::SimulateEntrance),
        shop.url(Component::SimulateMail)
    );
    wait_for_an_end(&mut shop)
}

/// Ctrl-C ends this process and the kernel ends its children; until then a component that ends by
/// itself is an error.
fn wait_for_an_end(shop: &mut Stack) -> Result<()> {
    loop {
        if let Some(end) = shop.ended()?.first() {
            bail!("{end}");
        }
        thread::sleep(Duration::from_secs(1));
    }
}
