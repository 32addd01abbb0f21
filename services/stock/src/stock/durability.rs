//! Asks the servers how they keep what they accept.

use std::collections::HashMap;

use redis::FromRedisValue;
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::durability::{Durability, any_settings_will_do, field};
use crate::error::StockError;

use super::{Result, Stock};

impl Stock {
    /// How each server that decides, and answers, keeps what it accepted.
    pub async fn durability(&self) -> Result<Vec<Durability>> {
        let mut asked = JoinSet::new();
        for (server, connection) in self.route.all().await? {
            asked.spawn(async move { ask(server, &connection).await });
        }
        let (mut told, mut outcome) = (Vec::new(), Ok(()));
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(durability)) => told.push(durability),
                Ok(Err(error)) => outcome = Err(error),
                Err(_stopped) => {}
            }
        }
        if told.is_empty() { outcome.map(|()| told) } else { Ok(told) }
    }

    /// [`StockError::Unsafe`] if one of them is set so that it may lose what it accepts.
    pub async fn ensure_safe(&self) -> Result<()> {
        if any_settings_will_do() {
            return Ok(());
        }
        let flaws: Vec<_> = self.durability().await?.iter().filter_map(Durability::flaw).collect();
        if flaws.is_empty() { Ok(()) } else { Err(StockError::Unsafe(flaws.join("; "))) }
    }
}

async fn ask(server: String, connection: &Connection) -> Result<Durability> {
    let memory: Option<String> = told(connection, redis::cmd("INFO").arg("memory")).await?;
    let persistence: Option<String> = told(connection, redis::cmd("INFO").arg("persistence")).await?;
    let settings: Option<HashMap<String, String>> =
        told(connection, redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await?;
    Ok(Durability {
        server,
        eviction: memory.and_then(|info| field(&info, "maxmemory_policy").map(str::to_owned)),
        appends: persistence.and_then(|info| field(&info, "aof_enabled").map(|enabled| enabled == "1")),
        syncs: settings.and_then(|mut settings| settings.remove("appendfsync")),
    })
}

/// `None` when the server refuses to say: managed ones forbid `CONFIG`, or do not have it.
async fn told<T: FromRedisValue>(connection: &Connection, question: &redis::Cmd) -> Result<Option<T>> {
    match connection.query(question).await {
        Ok(answer) => Ok(Some(answer)),
        Err(StockError::Protocol(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
