//! PostgreSQL is lost in the middle of a sale, with or without Redis, and the shop comes back from a backup
//! and Kafka's log. This follows docs/restore.md; the internal API stands in for the operator's steps.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Result;
use rocketmart_harness::stack::{Backing, Component, Stack};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{redis, rest};
use crate::{command::run, world::World};

/// No worker is this far behind when the backup begins.
const BEHIND: Duration = Duration::from_mins(1);

pub(super) fn both_lost(world: &World, seconds: u64) -> Result<()> {
    back_from_backup(world, seconds, true)?;
    redis::rebuild(world)
}

/// Redis knows more than the backup and stays as it is.
pub(super) fn postgres_lost(world: &World, seconds: u64) -> Result<()> {
    back_from_backup(world, seconds, false)
}

fn back_from_backup(world: &World, seconds: u64, without_redis: bool) -> Result<()> {
    let folder = world.with_stack(|stack| stack.folder().join("backup"));
    fs::create_dir_all(&folder)?;
    let begun = OffsetDateTime::now_utc();
    // One database after the other, so that their backups are of different moments.
    for database in Backing::databases() {
        world.with_stack(|stack| stack.backing.postgres.dump(database, &folder.join(database)))?;
    }
    rest(seconds);
    world.with_stack(|stack| {
        stack.backing.postgres.kill();
        if without_redis {
            stack.backing.redis.kill();
        }
    });
    each(world, Stack::take_down)?;
    world.with_stack(|stack| {
        // Empty Redis only once nobody is left to work with it.
        if without_redis {
            stack.backing.redis.restart_empty()?;
        }
        restore(stack, &folder)
    })?;
    rewind(world, begun - BEHIND)?;
    each(world, Stack::start)
}

/// Every component of the shop; the outside world keeps running.
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
    let postgres = &mut stack.backing.postgres;
    postgres.restart_empty()?;
    for database in Backing::databases() {
        postgres.create_database(database)?;
        postgres.restore(database, &folder.join(database))?;
    }
    postgres.execute_in("payment", "INSERT INTO restores DEFAULT VALUES")
}

fn rewind(world: &World, to: OffsetDateTime) -> Result<()> {
    let to = to.format(&Rfc3339)?;
    rocketmart(
        world.program(),
        &world.with_stack(|stack| stack.backing.kafka.brokers()),
        &["rewind", "--to", &to],
    )
}

/// Runs a command of the image.
fn rocketmart(program: &Path, brokers: &str, arguments: &[&str]) -> Result<()> {
    run(Command::new(program).args(arguments).env("KAFKA_BROKERS", brokers))
}
