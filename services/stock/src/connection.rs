//! One shared connection to Redis, opened when needed and given up at the first sign of trouble.
//!
//! What matters is to know whether a command can have been carried out. So opening a connection and
//! sending over an open one are kept apart: a failure of the first is `Unavailable` (nothing was
//! sent), silence after the second is `Unknown`. A connection that failed or fell silent is not used
//! again; the next caller opens a new one. Whatever opens a connection also makes sure that the
//! Redis behind it has the function library: it may be another Redis than before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, Value};
use tokio::sync::Mutex;

use crate::error::StockError;
use crate::library;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failed attempt, callers are refused at once for this long instead of queueing up to
/// try one after the other.
const REFUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    client: Client,
    response_timeout: Duration,
    slot: Arc<Mutex<Slot>>,
    /// Connections for commands that block, each used by one caller at a time.
    idle_blocking: Arc<std::sync::Mutex<Vec<MultiplexedConnection>>>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u64,
    open: Option<MultiplexedConnection>,
    last_failure: Option<(Instant, StockError)>,
}

impl Connection {
    pub(crate) fn new(url: &str, response_timeout: Duration) -> Result<Self, StockError> {
        let client = Client::open(url).map_err(|error| StockError::Unavailable(error.to_string()))?;
        Ok(Self { client, response_timeout, slot: Arc::default(), idle_blocking: Arc::default() })
    }

    /// Sends one command and waits for its answer.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StockError> {
        let (generation, mut connection) = self.open().await?;
        let answer = connection.req_packed_command(command).await.and_then(Value::extract_error);
        self.read(generation, answer).await
    }

    /// Sends several commands at once and waits for all answers. Not atomic.
    pub(crate) async fn query_pipeline<T: FromRedisValue>(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<T, StockError> {
        let (generation, mut connection) = self.open().await?;
        let answer = pipeline.query_async::<Value>(&mut connection).await;
        self.read(generation, answer).await
    }

    /// Sends a command that may take `block` longer than others, over a connection of its own.
    pub(crate) async fn query_blocking<T: FromRedisValue>(
        &self,
        command: &Cmd,
        block: Duration,
    ) -> Result<T, StockError> {
        let idle = self.idle_blocking.lock().ok().and_then(|mut idle| idle.pop());
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.dial(None).await?,
        };
        let limit = block + self.response_timeout;
        let answer = tokio::time::timeout(limit, connection.req_packed_command(command))
            .await
            .map_err(|_| StockError::Unknown(format!("no answer within {limit:?}")))?
            .and_then(Value::extract_error)
            .map_err(|error| StockError::after_sending(&error))?;
        if let Ok(mut idle) = self.idle_blocking.lock() {
            idle.push(connection);
        }
        redis::from_redis_value(answer).map_err(|error| StockError::Protocol(error.to_string()))
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
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.open {
            return Ok((slot.generation, connection.clone()));
        }
        if let Some((at, error)) = &slot.last_failure
            && at.elapsed() < REFUSE_AFTER_FAILURE
        {
            return Err(error.clone());
        }
        let opened = match self.dial(Some(self.response_timeout)).await {
            Ok(mut connection) => library::ensure(&mut connection).await.map(|()| connection),
            Err(error) => Err(error),
        };
        match opened {
            Ok(connection) => {
                slot.generation += 1;
                slot.open = Some(connection.clone());
                slot.last_failure = None;
                Ok((slot.generation, connection))
            }
            Err(error) => {
                slot.last_failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn dial(&self, response_timeout: Option<Duration>) -> Result<MultiplexedConnection, StockError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(response_timeout);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| StockError::Unavailable(error.to_string()))
    }

    /// Leaves the connection to those who still wait on it.
    async fn give_up(&self, generation: u64) {
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            slot.open = None;
        }
    }

    /// Checks the function library again, over the open connection.
    pub(crate) async fn ensure_library(&self) -> Result<(), StockError> {
        let (_, mut connection) = self.open().await?;
        library::ensure(&mut connection).await
    }
}
