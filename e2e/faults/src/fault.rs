//! Everything that can happen to the shop, each as one value: what, to whom, for how long.
//!
//! [`Fault::inject`] does it, undoes it if necessary, and returns when the cause is gone. Recovering is up to
//! the shop. Injecting blocks: several faults at once are several threads.

mod postgres;
mod processes;
mod redis;
mod restored;

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rocketmart_harness::stack::Component;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    network::{Edge, Trouble},
    overload, strangers,
    world::World,
};

/// A parked message is visible within this time.
const PARK_LIMIT: Duration = Duration::from_mins(1);
/// A replica killed to arm it gets work to die of once its group has noticed. That takes about this long.
const UNTIL_ONE_DIES: Duration = Duration::from_secs(25);
/// Failpoints in `rocketmart_kit::failpoint`.
pub const BEFORE_OFFSET_COMMIT: &str = "before-offset-commit";
pub const BEFORE_HANDLING: &str = "before-handling";

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// SIGKILL of one replica.
    Kill {
        component: Component,
        replica: usize,
    },
    /// SIGSTOP of one replica, then SIGCONT.
    Freeze {
        component: Component,
        replica: usize,
        seconds: u64,
    },
    /// Stops and replaces one replica after another with SIGTERM, as a Deployment does.
    Roll {
        component: Component,
    },
    /// A failpoint kills each replica that reaches it, each time with this chance.
    Die {
        component: Component,
        place: &'static str,
        chance: f64,
        seconds: u64,
    },
    /// Members leave the group and return faster than it settles.
    RebalanceStorm {
        component: Component,
        seconds: u64,
    },
    /// A message that is not an event, in each topic that order-worker reads.
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
    /// A power cut: the disk holds only what was fsynced.
    RedisPowerCut,
    /// `FUNCTION FLUSH`.
    RedisFunctionsGone,
    /// Redis comes back empty, and the sale is rebuilt.
    RedisLost,
    /// Redis comes back as it was this long ago, and the sale is rebuilt.
    RedisOlder {
        seconds: u64,
    },
    KafkaKilled,
    KafkaDown {
        seconds: u64,
    },
    /// Kafka comes back empty: no topics, no messages, no offsets.
    KafkaEmptied,
    PostgresKilled,
    /// PostgreSQL is frozen with all its child processes.
    PostgresFrozen {
        seconds: u64,
    },
    /// Every connection of every pool waits for the same lock.
    PostgresPoolExhausted {
        seconds: u64,
    },
    PostgresDeadlocks {
        seconds: u64,
    },
    /// A neighbour keeps the disk busy with its own fsyncs.
    PostgresSlowFsync {
        seconds: u64,
    },
    /// PostgreSQL and Redis are lost, and are restored from a backup of PostgreSQL made this long before.
    BothLost {
        seconds: u64,
    },
    /// Only PostgreSQL is lost, and is restored from a backup made this long before.
    PostgresLost {
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
    /// One replica's clock is wrong.
    Clock {
        component: Component,
        minutes: i64,
        seconds: u64,
    },
    /// Twice as many purchases as the shop can carry.
    Overload,
    /// SIGKILL for all processes and stores at once.
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
    /// How long it lasts; zero for a fault that is over at once.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Freeze { seconds, .. }
            | Self::RebalanceStorm { seconds, .. }
            | Self::RedisFrozen { seconds }
            | Self::RedisDiskFull { seconds }
            | Self::RedisOlder { seconds }
            | Self::KafkaDown { seconds }
            | Self::PostgresFrozen { seconds }
            | Self::PostgresPoolExhausted { seconds }
            | Self::PostgresDeadlocks { seconds }
            | Self::PostgresSlowFsync { seconds }
            | Self::BothLost { seconds }
            | Self::PostgresLost { seconds }
            | Self::Provider { seconds, .. }
            | Self::Network { seconds, .. }
            | Self::Clock { seconds, .. } => Duration::from_secs(*seconds),
            Self::Die { seconds, .. } => UNTIL_ONE_DIES + Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        }
    }

    /// Injects the fault and ends it. Blocks; call it where blocking is allowed, inside a tokio runtime.
    pub fn inject(&self, world: &World) -> Result<()> {
        self.act(world).with_context(|| format!("injecting: {self}"))
    }

    fn act(&self, world: &World) -> Result<()> {
        match self {
            Self::Kill { component, replica } => world.with_stack(|stack| stack.kill(*component, *replica)),
            Self::Freeze { component, replica, seconds } => {
                processes::freeze(world, *component, *replica, *seconds)
            }
            Self::Roll { component } => processes::roll(world, *component),
            Self::Die { component, place, chance, seconds } => {
                processes::die(world, *component, &format!("{place}={chance}"), *seconds)
            }
            Self::RebalanceStorm { component, seconds } => {
                processes::rebalance_storm(world, *component, *seconds);
                Ok(())
            }
            Self::Poison => poison(world),
            Self::Network { edge, trouble, seconds } => {
                world.set_trouble(*edge, *trouble)?;
                rest(*seconds);
                world.set_trouble(*edge, Trouble::default())
            }
            Self::Provider { trouble, seconds } => provider(world, trouble, *seconds),
            Self::Clock { component, minutes, seconds } => {
                processes::clock(world, *component, *minutes, *seconds)
            }
            Self::Overload => Handle::current().block_on(overload::overload(world)),
            Self::Everything => processes::everything(world),
            Self::BothLost { seconds } => restored::both_lost(world, *seconds),
            Self::PostgresLost { seconds } => restored::postgres_lost(world, *seconds),
            Self::KafkaKilled => world.with_stack(|stack| stack.backing.kafka.begin_restart()),
            Self::KafkaDown { seconds } => {
                world.with_stack(|stack| stack.backing.kafka.kill());
                rest(*seconds);
                world.with_stack(|stack| stack.backing.kafka.begin_restart())
            }
            // Makes the topics again, as the operator would.
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
            | Self::RedisOlder { .. } => redis::inject(self, world),
            Self::PostgresKilled
            | Self::PostgresFrozen { .. }
            | Self::PostgresPoolExhausted { .. }
            | Self::PostgresDeadlocks { .. }
            | Self::PostgresSlowFsync { .. } => postgres::inject(self, world),
        }
    }
}

fn rest(seconds: u64) {
    thread::sleep(Duration::from_secs(seconds));
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
