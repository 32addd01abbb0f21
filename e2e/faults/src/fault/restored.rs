//! PostgreSQL and Redis are lost in the middle of a sale, and the shop comes back from a backup of PostgreSQL and
//! from Kafka's log: the steps of docs/restore.md, the operator's played by the side door.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Result, bail};
use rocketmart_harness::stack::{Backing, Component, Stack};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{redis, rest};
use crate::world::World;

/// No worker is that far behind when the backup is begun.
const BEHIND: Duration = Duration::from_mins(1);

pub(super) fn both_lost(world: &World, seconds: u64) -> Result<()> {
    let folder = world.with_stack(|stack| stack.folder().join("backup"));
    fs::create_dir_all(&folder)?;
    let begun = OffsetDateTime::now_utc();
    // One database after the other, so that they are of different moments.
    for database in Backing::databases() {
        world.with_stack(|stack| stack.backing.postgres.dump(database, &folder.join(database)))?;
    }
    rest(seconds);
    world.with_stack(|stack| {
        stack.backing.postgres.kill();
        stack.backing.redis.kill();
    });
    each(world, Stack::take_down)?;
    world.with_stack(|stack| restore(stack, &folder))?;
    rewind(world, begun - BEHIND)?;
    each(world, Stack::start)?;
    redis::rebuild(world)
}

/// Everything of the shop; the world outside goes on.
fn each(world: &World, act: impl Fn(&mut Stack, Component, usize) -> Result<()>) -> Result<()> {
    world.with_stack(|stack| {
        for component in Component::ALL.into_iter().filter(|component| !component.is_simulator()) {
            for replica in 0..stack.replicas(component) {
                act(stack, component, replica)?;
            }
        }
        Ok(())
    })
}

fn restore(stack: &mut Stack, folder: &Path) -> Result<()> {
    stack.backing.redis.restart_empty()?;
    let postgres = &mut stack.backing.postgres;
    postgres.restart_empty()?;
    for database in Backing::databases() {
        postgres.create_database_named(database)?;
        postgres.restore(database, &folder.join(database))?;
    }
    postgres.execute_in("payment", "INSERT INTO restores DEFAULT VALUES")
}

fn rewind(world: &World, to: OffsetDateTime) -> Result<()> {
    let brokers = world.with_stack(|stack| stack.backing.kafka.brokers());
    let output = Command::new(world.program())
        .args(["rewind", "--to", &to.format(&Rfc3339)?])
        .env("KAFKA_BROKERS", brokers)
        .output()?;
    if !output.status.success() {
        bail!("rewind: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
