//! `cargo xtask dev`: the services as plain processes on loopback, with Redis, PostgreSQL and Kafka as
//! processes too. They are up in seconds; Ctrl-C ends them and leaves nothing behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{
    programs::{Programs, Speed},
    stack::{Backing, Component, Recipe, Stack},
    step::step,
};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How often we check whether a process has ended or the person wants to stop.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn run() -> Result<()> {
    let programs = Programs::build(Speed::AsTested)?;
    // From here on there are folders and processes to remove, so a signal must lead to an orderly end.
    let end = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, end.clone()).context("listening for signals")?;
    }
    let recipe = Recipe::new(programs.program("rocketmart")?).fixed_ports();
    let backing = step("Redis, PostgreSQL and Kafka", Backing::start)?;
    let mut shop = step("The components", || recipe.start_on(backing))?;
    for component in Component::ALL.into_iter().filter(|component| !component.is_simulator()) {
        let http =
            if component.serves_http() { format!("http {}, ", shop.url(component)) } else { String::new() };
        println!("  {:<16} {http}admin {}", component.name(), shop.admin_url(component));
    }
    println!(
        "\nEverything runs; logs are in {}.\nThe shop: {}   Mails: {}/mails   API documents: http://127.0.0.1:<port>/docs\nA tour to paste: docs/tour.md. Ctrl-C ends it and removes what it made, logs included.",
        shop.folder().display(),
        shop.url(Component::SimulateEntrance),
        shop.url(Component::SimulateMail)
    );
    wait_for_an_end(&mut shop, &end)
}

/// A component that ends by itself is an error, until Ctrl-C. Then all end: the terminal has told each of
/// them too. Their folders go with the shop.
fn wait_for_an_end(shop: &mut Stack, end: &AtomicBool) -> Result<()> {
    loop {
        let ended = shop.ended()?;
        if end.load(Ordering::Relaxed) {
            println!("Ending.");
            return Ok(());
        }
        if let Some(first) = ended.first() {
            // A signal to the whole group may reach the component before it reaches this process.
            thread::sleep(LOOK);
            if !end.load(Ordering::Relaxed) {
                bail!("{first}");
            }
        }
        thread::sleep(LOOK);
    }
}
