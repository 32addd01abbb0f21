//! Twice as many purchases as the shop can carry.
//!
//! The way to Redis is made slow, so that a load generator on the same machine can exceed the capacity: one
//! batch per replica and round trip. First, buyers who wait for their answers measure the peak. Then buyers
//! come at twice that pace without waiting. One run measures both, so the figures are ratios and hold on a
//! slow machine too.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use rocketmart_harness::stack::Component;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, timeout_at},
};

use crate::{
    network::{Edge, Trouble},
    world::World,
};

const LONG_WAY: Trouble =
    Trouble { delay_ms: 200, loss: 0.0, cut_to_server: false, cut_to_client: false, reset: false };
/// Enough to fill each replica's largest batch twice.
const WAITING_BUYERS: usize = 1_100;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(6);
const TICK: Duration = Duration::from_millis(10);
/// The share of the peak that must still be accepted under overload.
const SHARE: f64 = 0.8;
/// A refusal that takes longer than this is not quick.
const QUICK: Duration = Duration::from_secs(1);
/// Accepted purchases are answered within the longest time that a request may take.
const BOUNDED: Duration = Duration::from_secs(10);
const MEMORY_MB: u64 = 256;

#[derive(Debug, Default)]
struct Seen {
    accepted: usize,
    refused: usize,
    without_retry_after: usize,
    unanswered: usize,
    latencies_of_accepted: Vec<Duration>,
    latencies_of_refused: Vec<Duration>,
}

/// Overloads the shop. The error says what did not hold.
pub async fn overload(world: &World) -> Result<()> {
    world.set_trouble(Edge::OrderRedis, LONG_WAY)?;
    let found = measured(world).await;
    world.set_trouble(Edge::OrderRedis, Trouble::default())?;
    found
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "thousands a second"
)]
async fn measured(world: &World) -> Result<()> {
    let peak = peak(world).await? as f64 / MEASURED.as_secs_f64();
    let before = memory_mb(world);
    let seen = twice(world, (peak * 2.0 * TICK.as_secs_f64()).ceil() as usize).await?;
    let grown = memory_mb(world).saturating_sub(before);
    let accepted = seen.accepted as f64 / MEASURED.as_secs_f64();
    let (slow_accepted, slow_refused) = (p99(seen.latencies_of_accepted), p99(seen.latencies_of_refused));
    println!(
        "      peak {peak:.0}/s; at twice that {accepted:.0}/s accepted ({:.0} %), {} refused, {} without an answer; p99 of accepted {} ms, of refused {} ms; {grown} MB more memory",
        accepted / peak * 100.0,
        seen.refused,
        seen.unanswered,
        slow_accepted.as_millis(),
        slow_refused.as_millis()
    );
    ensure!(seen.refused + seen.unanswered > 0, "that was no overload: nothing was refused");
    ensure!(accepted >= SHARE * peak, "only {accepted:.0}/s were accepted, the peak is {peak:.0}/s");
    ensure!(
        seen.without_retry_after == 0,
        "{} refusals did not say when to come back",
        seen.without_retry_after
    );
    ensure!(seen.unanswered * 100 <= seen.refused, "{} requests were not answered", seen.unanswered);
    ensure!(slow_refused <= QUICK, "a refusal took {} ms", slow_refused.as_millis());
    ensure!(slow_accepted <= BOUNDED, "an acceptance took {} ms", slow_accepted.as_millis());
    ensure!(grown <= MEMORY_MB, "{grown} MB more memory");
    Ok(())
}

/// Purchases accepted while buyers wait for their answers.
async fn peak(world: &World) -> Result<usize> {
    let pool = world.probe_pool()?;
    let start = Instant::now() + WARM_UP;
    let end = start + MEASURED;
    let mut buyers = JoinSet::new();
    for buyer in 0..WAITING_BUYERS {
        let pool = pool.clone();
        buyers.spawn(async move {
            let mut accepted = 0;
            while Instant::now() < end {
                if let Ok(Ok(answer)) = timeout_at(end, pool.try_to_buy(buyer)).await {
                    accepted += usize::from(answer.status.is_success() && Instant::now() >= start);
                }
            }
            accepted
        });
    }
    let mut accepted = 0;
    while let Some(of_one) = buyers.join_next().await {
        accepted += of_one?;
    }
    Ok(accepted)
}

/// Sends this many purchases every tick, whether the earlier ones were answered or not.
async fn twice(world: &World, per_tick: usize) -> Result<Seen> {
    let pool = world.probe_pool()?;
    let start = Instant::now() + WARM_UP;
    let end = start + MEASURED;
    let mut requests = JoinSet::new();
    let mut ticks = interval(TICK);
    while Instant::now() < end {
        ticks.tick().await;
        for buyer in 0..per_tick {
            let pool = pool.clone();
            requests.spawn(async move {
                let sent = Instant::now();
                (pool.try_to_buy(buyer).await, sent.elapsed(), Instant::now())
            });
        }
    }
    let mut seen = Seen::default();
    while let Some(request) = requests.join_next().await {
        let (answer, took, at) = request?;
        match answer {
            Ok(answer) if answer.status.is_success() => {
                seen.accepted += usize::from((start..end).contains(&at));
                seen.latencies_of_accepted.push(took);
            }
            Ok(answer) => {
                seen.refused += 1;
                seen.without_retry_after += usize::from(answer.retry_after.is_none());
                seen.latencies_of_refused.push(took);
            }
            Err(_) => seen.unanswered += 1,
        }
    }
    Ok(seen)
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}

/// Resident memory of all order APIs.
fn memory_mb(world: &World) -> u64 {
    let pids = world.with_stack(|stack| {
        (0..stack.replicas(Component::Order))
            .filter_map(|replica| stack.pid(Component::Order, replica))
            .collect::<Vec<_>>()
    });
    let of = |pid: &u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    pids.iter().filter_map(of).sum::<u64>() / 1_024
}
