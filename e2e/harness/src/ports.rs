//! Loopback ports for the servers of tests, and of shops that run as processes.
//!
//! A port is chosen long before its server binds it, because the others must know the address before they
//! start. So one process never gives a port twice, whether somebody listens on it yet or not.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::TcpListener,
    ops::Range,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Result, bail};

/// Below the ports that Linux gives to outgoing connections. While a killed server is away, Linux could give
/// such a port to somebody's connection, or a client that retries could connect to itself.
const SERVER_PORTS: Range<u16> = 10_000..32_000;
const ATTEMPTS: usize = 1_000;

/// Where this process looks next. It begins anywhere, because other processes look for ports too. A hasher's
/// keys are the only randomness in the standard library.
static NEXT: LazyLock<AtomicU64> =
    LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(std::process::id())));

/// A loopback port on which nothing listened a moment ago and that this process was not given before.
///
/// # Errors
/// If none of the next thousand is free.
pub fn free_port() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % u64::from(SERVER_PORTS.end - SERVER_PORTS.start);
        let port = SERVER_PORTS.start + u16::try_from(number)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {SERVER_PORTS:?} is free")
}

/// A node of a Redis Cluster listens for the other nodes on its own port plus this.
const BUS: u16 = 10_000;

/// A port for a node of a Redis Cluster. The port above it that the other nodes use is free too, and is not
/// among those of outgoing connections.
///
/// # Errors
/// If there is none.
pub fn free_cluster_port() -> Result<u16> {
    for _ in SERVER_PORTS {
        let port = free_port()?;
        let bus = port + BUS;
        if SERVER_PORTS.contains(&bus) && TcpListener::bind(("127.0.0.1", bus)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {SERVER_PORTS:?} has a free one {BUS} above it")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Random choices would almost surely collide here (2,000 of 22,000), as they sometimes did among the 26
    /// ports of one shop.
    #[test]
    fn no_port_is_given_twice_before_its_server_listens() {
        let given: Vec<_> = (0..2_000).map(|_| free_port().unwrap()).collect();
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
        assert!(given.iter().all(|port| SERVER_PORTS.contains(port)));
    }
    #[test]
    fn the_other_nodes_of_a_cluster_find_a_port_of_servers() {
        for _ in 0..100 {
            assert!(SERVER_PORTS.contains(&(free_cluster_port().unwrap() + BUS)));
        }
    }
}
