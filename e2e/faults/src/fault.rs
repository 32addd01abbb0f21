//! Everything that can be done to the shop, each as one value: what, to whom, for how long.
//!
//! [`Fault::inject`] does it, undoes it where it has to be undone, and returns when the cause is gone;
//! recovering from it is the shop's affair. Injecting blocks: several faults at once are several threads.

use std::{
    fmt, fs,
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rocketmart_harness::stack::{Component, Stack};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    disk,
    network::{Edge, Trouble},
    overload, strangers,
    world::World,
};

/// Time of a rolling restart's replica to become ready again.
const ROLL_LIMIT: Duration = Duration::from_mins(1);
/// Between two restarts in a rebalance storm: less than a group needs to settle.
const STORM_PAUSE: Duration = Duration::from_millis(700);
/// A replica has come by its failpoint by then.
const FIRST_DEATH_LIMIT: Duration = Duration::from_mins(1);
/// A parked message is visible by then.
const PARK_LIMIT: Duration = Duration::from_mins(1);
/// A sale is rebuilt by then.
const REBUILD_LIMIT: Duration = Duration::from_mins(2);
/// Debian's libfaketime.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];
/// Places in `rocketmart_kit::failpoint`.
pub const BEFORE_OFFSET_COMMIT: &str = "before-offset-commit";
pub const BEFORE_HANDLING: &str = "before-handling";
const FAILPOINT: &str = "ROCKETMART_FAILPOINT";

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// SIGKILL of one replica.
    Kill {
        component: Component,
        replica: usize,
    },
    /// SIGSTOP of one replica, and SIGCONT.
    Freeze {
        component: Component,
        replica: usize,
        seconds: u64,
    },
    /// Replica after replica is stopped with SIGTERM and replaced, as a Deployment does.
    Roll {
        component: Component,
    },
    /// A failpoint ends every replica that comes by, each time with this chance.
    Die {
        component: Component,
        place: &'static str,
        chance: f64,
        seconds: u64,
    },
    /// Members leave the group and come back faster than it settles.
    RebalanceStorm {
        component: Component,
        seconds: u64,
    },
    /// A message that is no event, in each topic order-worker reads.
    Poison,
    RedisKilled,
    RedisFrozen {
        seconds: u64,
    },
    RedisDiskFull {
        seconds: u64,
    },
    /// SIGKILL that leaves half a command at the end of the append-only file.
    RedisTornTail,
    /// Power cut: the disk holds what was fsynced.
    RedisPowerCut,
    /// `FUNCTION FLUSH`.
    RedisFunctionsGone,
    /// Comes back with nothing, and the sale is rebuilt.
    RedisLost,
    /// Comes back as it was so long ago, and the sale is rebuilt.
    RedisOlder {
        seconds: u64,
    },
    KafkaKilled,
    KafkaDown {
        seconds: u64,
    },
    /// Comes back with nothing: no topic, no message, no offset.
    KafkaEmptied,
    PostgresKilled,
    /// Frozen with everything it has forked.
    PostgresFrozen {
        seconds: u64,
    },
    /// Every connection of every pool waits for one lock.
    PostgresPoolExhausted {
        seconds: u64,
    },
    PostgresDeadlocks {
        seconds: u64,
    },
    /// A neighbour keeps the disk busy with fsyncs of its own.
    PostgresSlowFsync {
        seconds: u64,
    },
    /// Settings of the simulated provider, see `PUT /control`.
    Provider {
        trouble: Value,
        seconds: u64,
    },
    Network {
        edge: Edge,
        trouble: Trouble,
        seconds: u64,
    },
    /// One replica's clock is off.
    Clock {
        component: Component,
        minutes: i64,
        seconds: u64,
    },
    /// Twice as many purchases as the shop can carry.
    Overload,
    /// All processes and stores at once, by SIGKILL.
    Everything,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { component, replica } => write!(f, "SIGKILL {} {replica}", component.name()),
            Self::Freeze { component, replica, seconds } => {
                write!(f, "SIGSTOP {} {replica} for {seconds} s", component.name())
            }
            Self::Roll { component } => write!(f, "rolling restart of {}", component.name()),
            Self::Die { component, place, seconds, .. } => {
                write!(f, "{} dies {place} for {seconds} s", component.name())
            }
            Self::RebalanceStorm { component, seconds } => {
                write!(f, "rebalance storm of {} for {seconds} s", component.name())
            }
            Self::Network { edge, trouble, seconds } => {
                write!(f, "{} for {seconds} s: {trouble}", edge.name())
            }
            Self::Provider { trouble, seconds } => write!(f, "provider for {seconds} s: {trouble}"),
            Self::Clock { component, minutes, seconds } => {
                write!(f, "{} {minutes:+} min for {seconds} s", component.name())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.delay_ms > 0 {
            words.push(format!("{} ms late", self.delay_ms));
        }
        if self.loss > 0.0 {
            words.push(format!("{:.0} % lost", self.loss * 100.0));
        }
        for (is, word) in [
            (self.cut_to_server, "nothing to the server"),
            (self.cut_to_client, "nothing to the client"),
            (self.reset, "reset"),
        ] {
            if is {
                words.push(word.to_owned());
            }
        }
        f.write_str(&words.join(", "))
    }
}

impl Fault {
    /// How long it lasts; what is over at once lasts no time.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Freeze { seconds, .. }
            | Self::Die { seconds, .. }
            | Self::RebalanceStorm { seconds, .. }
            | Self::RedisFrozen { seconds }
            | Self::RedisDiskFull { seconds }
            | Self::RedisOlder { seconds }
            | Self::KafkaDown { seconds }
            | Self::PostgresFrozen { seconds }
            | Self::PostgresPoolExhausted { seconds }
            | Self::PostgresDeadlocks { seconds }
            | Self::PostgresSlowFsync { seconds }
            | Self::Provider { seconds, .. }
            | Self::Network { seconds, .. }
            | Self::Clock { seconds, .. } => Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        }
    }

    /// Does it and ends it. Blocks; call it where blocking is allowed, inside a tokio runtime.
    pub fn inject(&self, world: &World) -> Result<()> {
        self.act(world).with_context(|| format!("injecting: {self}"))
    }

    fn act(&self, world: &World) -> Result<()> {
        match self {
            Self::Kill { component, replica } => world.with_stack(|stack| stack.kill(*component, *replica)),
            Self::Freeze { component, replica, seconds } => {
                world.with_stack(|stack| stack.signal(*component, *replica, "STOP"))?;
                rest(*seconds);
                world.with_stack(|stack| stack.signal(*component, *replica, "CONT"))
            }
            Self::Roll { component } => roll(world, *component),
            Self::Die { component, place, chance, seconds } => {
                die(world, *component, &format!("{place}={chance}"), *seconds)
            }
            Self::RebalanceStorm { component, seconds } => {
                let end = Instant::now() + Duration::from_secs(*seconds);
                let replicas = world.with_stack(|stack| stack.replicas(*component));
                for turn in (0..replicas).cycle() {
                    if Instant::now() >= end {
                        break;
                    }
                    // The supervisor starts it again; one that is just starting may not be there.
                    let _ = world.with_stack(|stack| stack.signal(*component, turn, "TERM"));
                    thread::sleep(STORM_PAUSE);
                }
                Ok(())
            }
            Self::Poison => poison(world),
            Self::Network { edge, trouble, seconds } => {
                world.set_trouble(*edge, *trouble);
                rest(*seconds);
                world.set_trouble(*edge, Trouble::default());
                Ok(())
            }
            Self::Provider { trouble, seconds } => provider(world, trouble, *seconds),
            Self::Clock { component, minutes, seconds } => clock(world, *component, *minutes, *seconds),
            Self::Overload => Handle::current().block_on(overload::overload(world)),
            Self::Everything => everything(world),
            Self::KafkaKilled => world.with_stack(|stack| stack.backing.kafka.begin_restart()),
            Self::KafkaDown { seconds } => {
                world.with_stack(|stack| stack.backing.kafka.kill());
                rest(*seconds);
                world.with_stack(|stack| stack.backing.kafka.begin_restart())
            }
            // The operator would make the topics again.
            Self::KafkaEmptied => world.with_stack(|stack| {
                stack.backing.kafka.restart_empty()?;
                stack.backing.create_topics()
            }),
            Self::RedisKilled
            | Self::RedisFrozen { .. }
            | Self::RedisDiskFull { .. }
            | Self::RedisTornTail
            | Self::RedisPowerCut
            | Self::RedisFunctionsGone
            | Self::RedisLost
            | Self::RedisOlder { .. } => self.to_redis(world),
            Self::PostgresKilled
            | Self::PostgresFrozen { .. }
            | Self::PostgresPoolExhausted { .. }
            | Self::PostgresDeadlocks { .. }
            | Self::PostgresSlowFsync { .. } => self.to_postgres(world),
        }
    }

    fn to_redis(&self, world: &World) -> Result<()> {
        let again = |stack: &mut Stack| stack.backing.redis.begin_restart();
        match self {
            Self::RedisKilled => world.with_stack(again),
            Self::RedisFrozen { seconds } => {
                world.with_stack(|stack| stack.backing.redis.signal("STOP"))?;
                rest(*seconds);
                world.with_stack(|stack| stack.backing.redis.signal("CONT"))
            }
            Self::RedisDiskFull { seconds } => {
                world.with_disk(|disk| disk.fill())?;
                rest(*seconds);
                world.with_disk(|disk| disk.make_room())?;
                // Redis may have given up (`appendfsync always` leaves it no choice).
                world.with_stack(|stack| if stack.backing.redis.runs()? { Ok(()) } else { again(stack) })
            }
            Self::RedisTornTail => world.with_stack(|stack| {
                stack.backing.redis.kill();
                disk::tear_tail(stack.backing.redis.dir())?;
                again(stack)
            }),
            Self::RedisPowerCut => world.with_stack(|stack| {
                stack.backing.redis.signal("STOP")?;
                world.with_disk(|disk| {
                    let photograph = disk.photograph()?;
                    stack.backing.redis.kill();
                    disk.power_up(photograph)
                })?;
                again(stack)
            }),
            Self::RedisLost => {
                world.with_stack(|stack| stack.backing.redis.restart_empty())?;
                rebuild(world)
            }
            Self::RedisOlder { seconds } => {
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

    fn to_postgres(&self, world: &World) -> Result<()> {
        let url = world.with_stack(|stack| stack.database_url("order"));
        match self {
            Self::PostgresKilled => restart_postgres(world),
            Self::PostgresFrozen { seconds } => {
                let pid = world.with_stack(|stack| stack.backing.postgres.id());
                signal_family(pid, "STOP")?;
                rest(*seconds);
                signal_family(pid, "CONT")
            }
            Self::PostgresPoolExhausted { seconds } => {
                Handle::current().block_on(strangers::lock_orders(&url, Duration::from_secs(*seconds)))
            }
            Self::PostgresDeadlocks { seconds } => {
                let during = Duration::from_secs(*seconds);
                let made = Handle::current().block_on(strangers::make_deadlocks(&url, during))?;
                ensure!(made > 0, "no deadlock came about");
                Ok(())
            }
            Self::PostgresSlowFsync { seconds } => {
                let folder = world.with_stack(|stack| stack.backing.postgres.dir().to_owned());
                keep_disk_busy(&folder, Duration::from_secs(*seconds))
            }
            _ => bail!("{self} is nothing that happens to PostgreSQL"),
        }
    }
}

fn rest(seconds: u64) {
    thread::sleep(Duration::from_secs(seconds));
}

/// The operator's part, which begins when it looks next; how long all of it takes counts as recovering.
fn rebuild(world: &World) -> Result<()> {
    let (door, sale) = (world.side_door().clone(), world.flock()?.sale().to_owned());
    thread::spawn(move || {
        if let Err(error) = door.rebuild(&sale, REBUILD_LIMIT) {
            println!("      the sale was not rebuilt: {error:#}");
        }
    });
    Ok(())
}

fn roll(world: &World, component: Component) -> Result<()> {
    for replica in 0..world.with_stack(|stack| stack.replicas(component)) {
        let before = world.with_stack(|stack| stack.pid(component, replica));
        world.with_stack(|stack| stack.signal(component, replica, "TERM"))?;
        // Its successor is started by the supervisor; the next one is stopped once it is ready.
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

fn die(world: &World, component: Component, failpoint: &str, seconds: u64) -> Result<()> {
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
    // Who was killed to be armed gets partitions again only when its group has noticed.
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

fn poison(world: &World) -> Result<()> {
    let brokers = world.with_stack(|stack| stack.backing.kafka.brokers());
    let before = strangers::parked(&brokers).unwrap_or_default();
    Handle::current().block_on(strangers::poison(&brokers))?;
    let deadline = Instant::now() + PARK_LIMIT;
    while strangers::parked(&brokers).unwrap_or_default() < before + 3 {
        ensure!(Instant::now() < deadline, "the messages were not parked in the dead-letter topic");
        thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

fn provider(world: &World, trouble: &Value, seconds: u64) -> Result<()> {
    let (url, callbacks) = world.with_stack(|stack| {
        let callbacks = format!("{}/api/v1/payments/callbacks", stack.url(Component::Payment));
        (stack.url(Component::SimulateProvider), callbacks)
    });
    let control = |settings: Value| {
        let client = rocketmart_loadtest::client::Client::new(&url, None)?;
        let call = rocketmart_loadtest::client::Call { body: Some(&settings), ..Default::default() };
        let sent = client.send(http::Method::PUT, "/control", call);
        Handle::current().block_on(sent)?.expect_success("the provider's settings").map(drop)
    };
    control(trouble.clone())?;
    rest(seconds);
    control(json!({
        "delay_ms": 0, "decline_rate": 0.0, "timeout_after_charging_rate": 0.0, "duplicate_callbacks": false,
        "callback_jitter_ms": 0, "outage": false, "callback_url": callbacks
    }))
}

fn clock(world: &World, component: Component, minutes: i64, seconds: u64) -> Result<()> {
    let library = FAKETIME.into_iter().find(|path| Path::new(path).exists());
    let library = library.context("libfaketime is not installed (Debian's package `libfaketime`)")?;
    let settings = [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME", format!("{minutes:+}m")),
        // Intervals are measured by the monotonic clock, which nobody sets.
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

fn everything(world: &World) -> Result<()> {
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
    restart_postgres(world)
}

/// Until the children of the killed server have noticed, a new one refuses to start.
fn restart_postgres(world: &World) -> Result<()> {
    let deadline = Instant::now() + ROLL_LIMIT;
    world.with_stack(|stack| stack.backing.postgres.begin_restart())?;
    loop {
        thread::sleep(Duration::from_millis(300));
        let runs = world.with_stack(|stack| {
            let runs = stack.backing.postgres.runs()?;
            if !runs {
                stack.backing.postgres.begin_restart()?;
            }
            anyhow::Ok(runs)
        })?;
        if runs {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "PostgreSQL does not start again");
    }
}

/// A signal to a process and to those it has forked.
fn signal_family(pid: u32, name: &str) -> Result<()> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let family = std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned));
    // One of them may have ended by itself meanwhile.
    std::process::Command::new("kill").args(["-s", name]).args(family).output()?;
    Ok(())
}

fn keep_disk_busy(folder: &Path, during: Duration) -> Result<()> {
    let path = folder.join("neighbour");
    let end = Instant::now() + during;
    let block = vec![7; 4 << 20];
    while Instant::now() < end {
        let mut file = fs::File::create(&path)?;
        for _ in 0..8 {
            file.write_all(&block)?;
            file.sync_all()?;
        }
    }
    Ok(fs::remove_file(&path)?)
}
