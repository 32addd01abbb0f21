//! A Redis Cluster: masters that share the slots, each with replicas.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::Redis;
use super::certificates::Certificates;
use super::redis_group::{cli, until};
use crate::{ports, process};

/// The nodes, masters first. Each can be killed, signalled and restarted on its own.
#[derive(Debug)]
pub struct RedisCluster {
    pub nodes: Vec<Redis>,
    addresses: Vec<String>,
    /// PEM file of the authority, when they speak TLS.
    authority: Option<PathBuf>,
}

const MASTERS: usize = 3;
/// How many slots every cluster has.
const SLOTS: usize = 16_384;
const SETTINGS: [(&str, &str); 4] = [
    ("--cluster-enabled", "yes"),
    ("--cluster-node-timeout", "1000"),
    // The remaining nodes keep selling.
    ("--cluster-require-full-coverage", "no"),
    ("--repl-diskless-sync-delay", "0"),
];

impl RedisCluster {
    /// Three masters with this many replicas each.
    pub fn start(replicas: usize) -> Result<Self> {
        let start = |_| Redis::start_in(ports::free_cluster_port()?, process::scratch("redis")?, &SETTINGS);
        let nodes = (0..MASTERS * (1 + replicas)).map(start).collect::<Result<Vec<_>>>()?;
        let addresses = nodes.iter().map(|node| address(node.port())).collect();
        Self { nodes, addresses, authority: None }.created(replicas)
    }

    /// Three masters that use TLS among themselves and with clients at [`Self::addresses`].
    pub fn start_with_tls() -> Result<Self> {
        let (mut nodes, mut addresses, mut authority) = (Vec::new(), Vec::new(), None::<PathBuf>);
        for _ in 0..MASTERS {
            let (dir, tls_port) = (process::scratch("redis")?, ports::free_cluster_port()?);
            let made = match &authority {
                None => Certificates::make(&dir)?,
                Some(authority) => Certificates::beside(authority),
            };
            let [certificate, key, authority_file] =
                [&made.certificate, &made.key, &made.authority].map(|file| file.display().to_string());
            let port = tls_port.to_string();
            let tls = [
                ("--tls-port", port.as_str()),
                ("--tls-cluster", "yes"),
                ("--tls-cert-file", &certificate),
                ("--tls-key-file", &key),
                ("--tls-ca-cert-file", &authority_file),
                ("--tls-auth-clients", "no"),
            ];
            nodes.push(Redis::start_in(ports::free_port()?, dir, &[&SETTINGS[..], &tls].concat())?);
            addresses.push(address(tls_port));
            authority.get_or_insert(made.authority);
        }
        Self { nodes, addresses, authority }.created(0)
    }

    /// Joins the nodes into one cluster.
    fn created(self, replicas: usize) -> Result<Self> {
        let mut command = Command::new("redis-cli");
        if let Some(authority) = &self.authority {
            command.arg("--tls").arg("--cacert").arg(authority);
        }
        let output = command
            .args(["--cluster", "create"])
            .args(&self.addresses)
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .output()
            .context("running redis-cli")?;
        if !output.status.success() {
            bail!("redis-cli --cluster create: {}", String::from_utf8_lossy(&output.stdout).trim());
        }
        until("every node knows all slots and its replicas", || self.is_complete(replicas))?;
        Ok(self)
    }

    fn is_complete(&self, replicas: usize) -> Result<bool> {
        for node in &self.nodes {
            let info = cli(node.port(), &["CLUSTER", "INFO"])?;
            let replication = cli(node.port(), &["INFO", "replication"])?;
            let followed = replication.matches("state=online").count() == replicas;
            let follows = replication.contains("master_link_status:up");
            if !info.contains("cluster_state:ok")
                || !info.contains(&format!("cluster_slots_ok:{SLOTS}"))
                || !(follows || followed && replication.contains("role:master"))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `host:port` of each node.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// PEM file of the authority that signed the certificates of [`Self::start_with_tls`].
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// The number of the node that `asked` calls the master of a key's slot.
    pub fn master_of(&self, key: &str, asked: usize) -> Result<Option<usize>> {
        let asked = self.node(asked)?;
        let slot: usize = slot_of(asked, key)?.parse()?;
        let nodes = cli(asked.port(), &["CLUSTER", "NODES"])?;
        // `id 127.0.0.1:port@bus flags … first-last first-last`
        let owner = nodes.lines().find(|line| {
            line.contains("master")
                && !line.contains("fail")
                && line.split(' ').skip(8).any(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    let parsed = first.parse::<usize>().ok().zip(last.parse::<usize>().ok());
                    parsed.is_some_and(|(first, last)| (first..=last).contains(&slot))
                })
        });
        let port =
            owner.and_then(|line| line.split(' ').nth(1)?.split(['@', ',']).next()?.rsplit(':').next());
        Ok(self.nodes.iter().position(|node| Some(node.port().to_string().as_str()) == port))
    }

    /// Waits until a node other than `former` is the master of a key's slot.
    pub fn wait_for_another_master_of(&self, key: &str, former: usize) -> Result<usize> {
        let asked = usize::from(former == 0);
        let mut found = None;
        until("another node has the slot", || {
            found = self.master_of(key, asked)?.filter(|node| *node != former);
            Ok(found.is_some())
        })?;
        found.context("another node has the slot")
    }

    /// Begins to move a key's slot: the first half of its keys has moved when this returns.
    pub fn begin_to_move(&self, key: &str, from: usize, to: usize) -> Result<()> {
        let (from, to) = (self.node(from)?, self.node(to)?);
        let slot = slot_of(from, key)?;
        cli(to.port(), &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id_of(from)?])?;
        cli(from.port(), &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id_of(to)?])?;
        let keys = keys_in(from, &slot)?;
        migrate(from, to, keys.get(..keys.len() / 2).unwrap_or_default())
    }

    /// Moves the rest of the slot.
    pub fn finish_moving(&self, key: &str, from: usize, to: usize) -> Result<()> {
        let (from, to) = (self.node(from)?, self.node(to)?);
        let slot = slot_of(from, key)?;
        migrate(from, to, &keys_in(from, &slot)?)?;
        for told in [to, from] {
            cli(told.port(), &["CLUSTER", "SETSLOT", &slot, "NODE", &id_of(to)?])?;
        }
        Ok(())
    }

    /// Makes a user on every node.
    pub fn admit(&self, user: &str, rules: &[&str]) -> Result<()> {
        for node in &self.nodes {
            cli(node.port(), &[&["ACL", "SETUSER", user, "on"][..], rules].concat())?;
        }
        Ok(())
    }

    fn node(&self, number: usize) -> Result<&Redis> {
        self.nodes.get(number).with_context(|| format!("there is no node {number}"))
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn slot_of(asked: &Redis, key: &str) -> Result<String> {
    Ok(cli(asked.port(), &["CLUSTER", "KEYSLOT", key])?.trim().to_owned())
}

fn id_of(node: &Redis) -> Result<String> {
    Ok(cli(node.port(), &["CLUSTER", "MYID"])?.trim().to_owned())
}

fn keys_in(node: &Redis, slot: &str) -> Result<Vec<String>> {
    let keys = cli(node.port(), &["CLUSTER", "GETKEYSINSLOT", slot, "100"])?;
    Ok(keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect())
}

fn migrate(from: &Redis, to: &Redis, keys: &[String]) -> Result<()> {
    let port = to.port().to_string();
    let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    command.extend(keys.iter().map(String::as_str));
    let answer = cli(from.port(), &command)?;
    if answer.trim() != "OK" {
        bail!("MIGRATE: {answer}");
    }
    Ok(())
}
