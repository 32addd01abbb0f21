//! What happens to Redis: it dies, hangs, runs out of disk, or loses half a command, its functions or
//! everything.

use std::{thread, time::Duration};

use anyhow::Result;
use rocketmart_harness::stack::Stack;
use tokio::runtime::Handle;

use super::{Fault, rest};
use crate::{disk, world::World};

/// A sale is rebuilt within this time.
const REBUILD_LIMIT: Duration = Duration::from_mins(2);

pub(super) fn inject(fault: &Fault, world: &World) -> Result<()> {
    let again = |stack: &mut Stack| stack.backing.redis.begin_restart();
    match fault {
        Fault::RedisKilled => world.with_stack(again),
        Fault::RedisFrozen { seconds } => {
            world.with_stack(|stack| stack.backing.redis.signal("STOP"))?;
            rest(*seconds);
            world.with_stack(|stack| stack.backing.redis.signal("CONT"))
        }
        Fault::RedisDiskFull { seconds } => {
            world.with_disk(|disk| disk.fill())?;
            rest(*seconds);
            world.with_disk(|disk| disk.make_room())?;
            // Redis may have exited (`appendfsync always` leaves it no choice).
            world.with_stack(|stack| if stack.backing.redis.runs()? { Ok(()) } else { again(stack) })
        }
        Fault::RedisTornTail => world.with_stack(|stack| {
            stack.backing.redis.kill();
            disk::tear_tail(stack.backing.redis.dir())?;
            again(stack)
        }),
        Fault::RedisPowerCut => world.with_stack(|stack| {
            stack.backing.redis.signal("STOP")?;
            world.with_disk(|disk| {
                let photograph = disk.photograph()?;
                stack.backing.redis.kill();
                disk.power_up(photograph)
            })?;
            again(stack)
        }),
        Fault::RedisLost => {
            world.with_stack(|stack| stack.backing.redis.restart_empty())?;
            rebuild(world)
        }
        Fault::RedisOlder { seconds } => {
            let copy = world.with_stack(|stack| stack.backing.redis.copy_data())?;
            rest(*seconds);
            world.with_stack(|stack| stack.backing.redis.restart_from(&copy))?;
            rebuild(world)
        }
        _ => {
            let url = world.with_stack(|stack| stack.backing.redis.url());
            let flush = async {
                let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
                redis::cmd("FUNCTION").arg("FLUSH").query_async::<()>(&mut connection).await
            };
            Ok(Handle::current().block_on(flush)?)
        }
    }
}

/// The operator's part, which begins when the operator looks next. The whole time counts as recovery.
pub(super) fn rebuild(world: &World) -> Result<()> {
    let (api, sale) = (world.internal_api().clone(), world.probe_pool()?.sale().to_owned());
    thread::spawn(move || {
        if let Err(error) = api.rebuild(&sale, REBUILD_LIMIT) {
            println!("      the sale was not rebuilt: {error:#}");
        }
    });
    Ok(())
}
