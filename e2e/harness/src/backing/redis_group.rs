//! A Redis master with replicas, and Sentinels that promote another master when it is gone.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::Redis;
use crate::{
    ports,
    process::{self, Process, Server},
};

/// The master at first, and its replicas, numbered in the order in which they started. Each can be killed,
/// signalled and restarted on its own.
#[derive(Debug)]
pub struct RedisGroup {
    /// The first one starts as the master.
    pub servers: Vec<Redis>,
    sentinels: Vec<Sentinel>,
}

/// The name under which the Sentinels know the master.
const NAME: &str = "mart";
const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

impl RedisGroup {
    /// A master with this many replicas, and this many Sentinels that know each other and all servers.
    pub fn start(replicas: usize, sentinels: usize) -> Result<Self> {
        // Replicas shall follow at once; by default the master waits in case more of them come.
        let settings = [("--repl-diskless-sync-delay", "0")];
        let start = |_| Redis::start_in(ports::free_port()?, process::scratch("redis")?, &settings);
        let servers = (0..=replicas).map(start).collect::<Result<Vec<_>>>()?;
        let Some((master, followers)) = servers.split_first() else { bail!("there is no server") };
        for replica in followers {
            follow(replica, master)?;
        }
        until("the replicas follow", || {
            Ok(cli(master.port(), &["INFO", "replication"])?.matches("state=online").count() == replicas)
        })?;
        let quorum = sentinels / 2 + 1;
        let sentinels =
            (0..sentinels).map(|_| Sentinel::start(master.port(), quorum)).collect::<Result<Vec<_>>>()?;
        let others = sentinels.len().saturating_sub(1);
        for sentinel in &sentinels {
            until("the Sentinels know everybody", || {
                let known = cli(sentinel.port, &["SENTINEL", "MASTER", NAME])?;
                Ok(known.contains(&format!("num-slaves\n{replicas}\n"))
                    && known.contains(&format!("num-other-sentinels\n{others}\n")))
            })?;
        }
        Ok(Self { servers, sentinels })
    }

    /// `host:port` of each Sentinel.
    pub fn sentinels(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect()
    }

    /// The name under which the Sentinels know the master.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Makes one server a replica of another.
    pub fn follow(&self, replica: usize, master: usize) -> Result<()> {
        let server =
            |number: usize| self.servers.get(number).with_context(|| format!("there is no server {number}"));
        follow(server(replica)?, server(master)?)
    }

    /// The number of the server that all Sentinels call the master; `None` while they disagree.
    pub fn master(&self) -> Result<Option<usize>> {
        let mut named = Vec::new();
        for sentinel in &self.sentinels {
            let address = cli(sentinel.port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
            let port = address.lines().nth(1).and_then(|port| port.parse::<u16>().ok());
            named.push(self.servers.iter().position(|server| Some(server.port()) == port));
        }
        named.dedup();
        Ok(if let [one] = named[..] { one } else { None })
    }

    /// Waits until all Sentinels, and the server itself, say that a server other than `former` is the master.
    pub fn wait_for_another_master(&self, former: usize) -> Result<usize> {
        let mut found = None;
        until("another server is the master", || {
            found = self.master()?.filter(|number| *number != former);
            let Some(server) = found.and_then(|number| self.servers.get(number)) else { return Ok(false) };
            Ok(cli(server.port(), &["ROLE"])?.starts_with("master"))
        })?;
        found.context("another server is the master")
    }
}

/// One Sentinel. It rewrites its configuration, which is removed with it.
#[derive(Debug)]
struct Sentinel {
    port: u16,
    dir: PathBuf,
    process: Process,
}

impl Sentinel {
    fn start(master: u16, quorum: usize) -> Result<Self> {
        let (port, dir) = (ports::free_port()?, process::scratch("sentinel")?);
        let configuration = dir.join("sentinel.conf");
        fs::write(
            &configuration,
            format!(
                "port {port}\nbind 127.0.0.1\ndir {}\n\
                 sentinel monitor {NAME} 127.0.0.1 {master} {quorum}\n\
                 sentinel down-after-milliseconds {NAME} 500\n\
                 sentinel failover-timeout {NAME} 3000\n\
                 sentinel parallel-syncs {NAME} 2\n",
                dir.display()
            ),
        )?;
        let server = Server {
            name: "redis-sentinel",
            program: "redis-server".into(),
            arguments: vec![configuration.display().to_string(), "--sentinel".to_owned()],
            environment: vec![],
            log: dir.join("sentinel.log"),
            user: None,
        };
        Ok(Self { port, process: server.start(port, LIMIT)?, dir })
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn follow(replica: &Redis, master: &Redis) -> Result<()> {
    cli(replica.port(), &["REPLICAOF", "127.0.0.1", &master.port().to_string()]).map(|_| ())
}

pub(super) fn cli(port: u16, arguments: &[&str]) -> Result<String> {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output()?;
    if !output.status.success() {
        bail!("redis-cli {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.replace('\r', ""))
}

pub(super) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !is_so()? {
        if Instant::now() >= deadline {
            bail!("not within {} s: {what}", LIMIT.as_secs());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
