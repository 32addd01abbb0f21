//! One shared connection to the Redis that decides. It is opened when needed, and given up at the first sign
//! of trouble.
//!
//! What matters is to know whether a command can have been carried out. So we keep opening a connection apart
//! from sending over an open one: a failure of the first is `Unavailable` (nothing was sent), silence after
//! the second is `Unknown`. We never reuse a connection that failed or fell silent; the next caller opens a
//! new one. Whatever opens a connection also makes sure that the Redis behind it has the function library: it
//! may not be the same Redis as before.
//!
//! Where there are replicas, a change counts as made once enough of them have written it: a master that fails
//! takes with it whatever it alone has. With Sentinel we ask now and then who the master is, even while the
//! old one answers: it may not have heard yet that it no longer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::Mutex;

use crate::error::StockError;
use crate::library;
use crate::owner::{self, Owner};
use crate::sentinel::Locator;

/// After a failed attempt we refuse callers at once for this long. Otherwise they would queue up to try one
/// after the other.
const REFUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// How often we ask the Sentinels whether the master is still the master.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long replicas may take to write a change.
const REPLICAS_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    locator: Locator,
    /// The shop that must own this Redis.
    owner: Option<Owner>,
    /// How many replicas must have written a change.
    min_replicas: usize,
    response_timeout: Duration,
    /// Set when another server may be the one to ask.
    trouble: Arc<AtomicBool>,
    slot: Arc<Mutex<Slot>>,
    /// Connections for commands that block. One caller uses each at a time. Each comes with the generation of
    /// the shared connection to the same server.
    idle_blocking: Arc<std::sync::Mutex<Vec<(u64, MultiplexedConnection)>>>,
}

/// The shared connection, and the server it leads to.
#[derive(Clone, Debug)]
struct Open {
    connection: MultiplexedConnection,
    server: Client,
    /// When we last knew that it leads to the master.
    asked: Instant,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u64,
    open: Option<Open>,
    last_failure: Option<(Instant, StockError)>,
}

impl Connection {
    pub(crate) fn new(
        locator: Locator,
        owner: Option<Owner>,
        min_replicas: usize,
        response_timeout: Duration,
    ) -> Self {
        Self {
            locator,
            owner,
            min_replicas,
            response_timeout,
            trouble: Arc::default(),
            slot: Arc::default(),
            idle_blocking: Arc::default(),
        }
    }

    /// Sets `trouble` whenever it gives up the connection, cannot open it, or is redirected to another
    /// server.
    pub(crate) fn that_tells(self, trouble: Arc<AtomicBool>) -> Self {
        Self { trouble, ..self }
    }

    /// Sends one command and waits for its answer.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StockError> {
        let (generation, mut connection) = self.open().await?;
        let answer = connection.req_packed_command(command).await.and_then(Value::extract_error);
        self.read(generation, answer).await
    }

    /// Sends one command that writes. Waits for its answer, and until enough replicas have written it as
    /// well. If they have not, the change is made but may be lost again: the outcome is unknown.
    pub(crate) async fn query_writing<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StockError> {
        if self.min_replicas == 0 {
            return self.query(command).await;
        }
        let (generation, mut connection) = self.open().await?;
        let mut pipeline = redis::pipe();
        pipeline.add_command(command.clone());
        // This waits for everything that this Redis has written so far. So an answer that changes nothing,
        // because it repeats an earlier one, does not go out before the earlier change is safe.
        pipeline.cmd("WAIT").arg(self.min_replicas).arg(REPLICAS_TIMEOUT.as_millis().to_string());
        let answers = connection.req_packed_commands(&pipeline, 0, 2).await;
        let [answer, replicas] = match answers.map(<[Value; 2]>::try_from) {
            Ok(Ok(answers)) => answers,
            Ok(Err(other)) => {
                return Err(StockError::Protocol(format!("two answers expected, not {other:?}")));
            }
            Err(error) => return self.read(generation, Err(error)).await,
        };
        let answer = self.read(generation, answer.extract_error()).await?;
        let replicas: usize = self.read(generation, replicas.extract_error()).await?;
        if replicas < self.min_replicas {
            self.give_up(generation).await;
            let needed = self.min_replicas;
            return Err(StockError::Unknown(format!("{replicas} of {needed} replicas have written it")));
        }
        Ok(answer)
    }

    /// Sends several commands at once and waits for all answers. Not atomic.
    pub(crate) async fn query_pipeline<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<T, StockError> {
        let (generation, mut connection) = self.open().await?;
        let answer = pipeline.query_async::<Value>(&mut connection).await;
        self.read(generation, answer).await
    }

    /// Sends commands of which the first may take `block` longer than others, over a separate connection to
    /// the same server as everything else.
    pub(crate) async fn query_blocking<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
        block: Duration,
    ) -> Result<T, StockError> {
        let (generation, server) = self.server().await?;
        let mut connection = match self.idle(generation) {
            Some(connection) => connection,
            None => self.locator.dial(&server, None).await?,
        };
        let limit = block + self.response_timeout;
        let answer = tokio::time::timeout(limit, pipeline.query_async::<Value>(&mut connection))
            .await
            .map_err(|_| StockError::Unknown(format!("no answer within {limit:?}")))
            .and_then(|answer| answer.map_err(|error| StockError::after_sending(&error)))
            .inspect_err(|_| self.trouble.store(true, Ordering::Relaxed))?;
        if let Ok(mut idle) = self.idle_blocking.lock() {
            idle.push((generation, connection));
        }
        redis::from_redis_value(answer).map_err(|error| StockError::Protocol(error.to_string()))
    }

    /// A connection for commands that block. Those to a previous server are dropped.
    fn idle(&self, generation: u64) -> Option<MultiplexedConnection> {
        let mut idle = self.idle_blocking.lock().ok()?;
        idle.retain(|(of, _)| *of == generation);
        idle.pop().map(|(_, connection)| connection)
    }

    async fn read<T: FromRedisValue>(
        &self,
        generation: u64,
        answer: Result<Value, RedisError>,
    ) -> Result<T, StockError> {
        match answer {
            Ok(value) => {
                redis::from_redis_value(value).map_err(|error| StockError::Protocol(error.to_string()))
            }
            // What we asked for is elsewhere, or on its way there. The connection is as good as ever.
            Err(error) if error.is_cluster_error() => {
                self.trouble.store(true, Ordering::Relaxed);
                Err(StockError::after_sending(&error))
            }
            Err(error) => {
                let error_of_call = StockError::after_sending(&error);
                if !matches!(error_of_call, StockError::Protocol(_)) || error.is_unrecoverable_error() {
                    self.give_up(generation).await;
                }
                Err(error_of_call)
            }
        }
    }

    async fn open(&self) -> Result<(u64, MultiplexedConnection), StockError> {
        self.open_slot().await.map(|(generation, open)| (generation, open.connection))
    }

    async fn server(&self) -> Result<(u64, Client), StockError> {
        self.open_slot().await.map(|(generation, open)| (generation, open.server))
    }

    async fn open_slot(&self) -> Result<(u64, Open), StockError> {
        let mut slot = self.slot.lock().await;
        let generation = slot.generation;
        if let Some(open) = &mut slot.open {
            if self.locator.may_move() && open.asked.elapsed() > ASK_AGAIN {
                open.asked = Instant::now();
                tokio::spawn(self.clone().ask_again(generation, open.server.clone()));
            }
            return Ok((generation, open.clone()));
        }
        if let Some((at, error)) = &slot.last_failure
            && at.elapsed() < REFUSE_AFTER_FAILURE
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(open) => {
                slot.generation += 1;
                slot.open = Some(open.clone());
                slot.last_failure = None;
                Ok((slot.generation, open))
            }
            Err(error) => {
                self.trouble.store(true, Ordering::Relaxed);
                slot.last_failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Open, StockError> {
        let server = self.locator.find().await?;
        let mut connection = self.locator.dial(&server, Some(self.response_timeout)).await?;
        self.claim(&mut connection, &server).await?;
        library::ensure(&mut connection).await?;
        Ok(Open { connection, server, asked: Instant::now() })
    }

    /// Refuses a Redis of another shop before doing anything there.
    async fn claim(&self, connection: &mut MultiplexedConnection, server: &Client) -> Result<(), StockError> {
        match &self.owner {
            Some(owner) => owner.claim(connection, server.get_connection_info().redis_settings().db()).await,
            None => Ok(()),
        }
    }

    /// The error of the last attempt to open it, if that failed because the Redis belongs to another shop.
    pub(crate) fn refused(&self) -> Option<StockError> {
        let slot = self.slot.try_lock().ok()?;
        let (_, error) = slot.last_failure.as_ref().filter(|_| slot.open.is_none())?;
        owner::is_refusal(error).then(|| error.clone())
    }

    /// Checks again who owns the Redis, over the open connection: it may have been given up.
    pub(crate) async fn confirm_owner(&self) -> Result<(), StockError> {
        let (generation, open) = self.open_slot().await?;
        let Open { mut connection, server, .. } = open;
        let claimed = self.claim(&mut connection, &server).await;
        if claimed.is_err() {
            self.give_up(generation).await;
        }
        claimed
    }

    /// Leaves a server that is no longer the master.
    async fn ask_again(self, generation: u64, server: Client) {
        if let Ok(master) = self.locator.find().await
            && master.get_connection_info().addr() != server.get_connection_info().addr()
        {
            tracing::warn!(master = %master.get_connection_info().addr(), "another Redis is the master now");
            self.give_up(generation).await;
        }
    }

    /// Leaves the connection to callers that still wait on it.
    async fn give_up(&self, generation: u64) {
        self.trouble.store(true, Ordering::Relaxed);
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            slot.open = None;
        }
    }

    /// Checks the function library again, over the open connection.
    pub(crate) async fn ensure_library(&self) -> Result<(), StockError> {
        // Whoever removed the library may have given up the Redis with it.
        self.confirm_owner().await?;
        let (_, mut connection) = self.open().await?;
        library::ensure(&mut connection).await
    }
}
