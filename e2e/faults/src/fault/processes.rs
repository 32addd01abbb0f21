//! What happens to the shop's own processes: stopped, frozen, restarted in turn, given a wrong clock.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rocketmart_harness::stack::Component;

use super::{postgres, rest};
use crate::world::World;

/// A replica of a rolling restart has this long to become ready again.
const ROLL_LIMIT: Duration = Duration::from_mins(1);
/// The pause between two restarts in a rebalance storm, shorter than a group needs to settle.
const STORM_PAUSE: Duration = Duration::from_millis(700);
/// A replica has reached its failpoint within this time.
const FIRST_DEATH_LIMIT: Duration = Duration::from_mins(1);
const FAILPOINT: &str = "ROCKETMART_FAILPOINT";
/// Debian's libfaketime.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

pub(super) fn freeze(world: &World, component: Component, replica: usize, seconds: u64) -> Result<()> {
    world.with_stack(|stack| stack.signal(component, replica, "STOP"))?;
    rest(seconds);
    world.with_stack(|stack| stack.signal(component, replica, "CONT"))
}

pub(super) fn roll(world: &World, component: Component) -> Result<()> {
    for replica in 0..world.with_stack(|stack| stack.replicas(component)) {
        let before = world.with_stack(|stack| stack.pid(component, replica));
        world.with_stack(|stack| stack.signal(component, replica, "TERM"))?;
        // The supervisor starts its successor. The next replica is stopped once that one is ready.
        let deadline = Instant::now() + ROLL_LIMIT;
        while !world
            .with_stack(|stack| stack.pid(component, replica) != before && stack.is_ready(component, replica))
        {
            ensure!(Instant::now() < deadline, "{} {replica} did not come back", component.name());
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

pub(super) fn die(world: &World, component: Component, failpoint: &str, seconds: u64) -> Result<()> {
    let replicas = world.with_stack(|stack| stack.replicas(component));
    let arm = |value: Option<&str>| -> Result<()> {
        world.with_stack(|stack| {
            for replica in 0..replicas {
                stack.set_env(component, replica, FAILPOINT, value)?;
                stack.kill(component, replica)?;
            }
            Ok(())
        })
    };
    arm(Some(failpoint))?;
    thread::sleep(Duration::from_secs(2));
    let before = world.revivals();
    // A replica killed to arm it gets partitions again only when its group has noticed.
    let deadline = Instant::now() + FIRST_DEATH_LIMIT;
    while world.revivals() == before && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
    }
    let died = world.revivals() - before;
    rest(seconds);
    arm(None)?;
    ensure!(died > 0, "nobody died: was the program built with its failpoints?");
    Ok(())
}

pub(super) fn rebalance_storm(world: &World, component: Component, seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let replicas = world.with_stack(|stack| stack.replicas(component));
    for turn in (0..replicas).cycle() {
        if Instant::now() >= end {
            break;
        }
        // The supervisor restarts it. A replica that is just starting may not be there.
        let _ = world.with_stack(|stack| stack.signal(component, turn, "TERM"));
        thread::sleep(STORM_PAUSE);
    }
}

pub(super) fn clock(world: &World, component: Component, minutes: i64, seconds: u64) -> Result<()> {
    let library = FAKETIME.into_iter().find(|path| Path::new(path).exists());
    let library = library.context("libfaketime is not installed (Debian's package `libfaketime`)")?;
    let settings = [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME", format!("{minutes:+}m")),
        // Intervals use the monotonic clock, which nobody sets.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let set = |on: bool| -> Result<()> {
        world.with_stack(|stack| {
            for (name, value) in &settings {
                stack.set_env(component, 0, name, on.then_some(value.as_str()))?;
            }
            stack.kill(component, 0)
        })
    };
    set(true)?;
    rest(seconds);
    set(false)
}

pub(super) fn everything(world: &World) -> Result<()> {
    world.with_stack(|stack| {
        for component in Component::ALL {
            for replica in 0..stack.replicas(component) {
                stack.kill(component, replica)?;
            }
        }
        stack.backing.redis.kill();
        stack.backing.kafka.kill();
        stack.backing.postgres.kill();
        stack.backing.kafka.begin_restart()?;
        stack.backing.redis.begin_restart()
    })?;
    postgres::restart(world)
}
