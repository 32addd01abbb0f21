//! A TCP proxy on one edge between two processes, and what goes wrong there.
//!
//! The proxy delays and resets. Bytes pass through a queue in each direction, so that a delay shifts a stream
//! instead of slowing it down. Packets are lost on the way to the proxy's port and back, see [`packets`].

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::packets::{self, Loss};

/// Chunks on their way in one direction.
const QUEUE: usize = 256;
const CHUNK: usize = 16 * 1024;

/// How an edge misbehaves; by default it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Trouble {
    /// Added to each direction.
    pub delay_ms: u64,
    /// Share of packets lost in each direction, 0 to 1.
    pub loss: f64,
    /// Nothing reaches the server.
    pub cut_to_server: bool,
    /// Nothing comes back to the client.
    pub cut_to_client: bool,
    /// Connections are reset, new ones too.
    pub reset: bool,
}

impl Trouble {
    fn packets(&self) -> Loss {
        let share = |cut: bool| if cut { 1.0 } else { self.loss };
        Loss { to_server: share(self.cut_to_server), to_client: share(self.cut_to_client) }
    }
}

/// Listens on loopback for one server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    upstream: Arc<AtomicU16>,
    trouble: watch::Sender<Trouble>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on `port` for the server on `upstream`.
    pub async fn start(port: u16, upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("a proxy's port")?;
        let (trouble, seen) = watch::channel(Trouble::default());
        let upstream = Arc::new(AtomicU16::new(upstream));
        let aim = Arc::clone(&upstream);
        let accepting = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let server = SocketAddr::from(([127, 0, 0, 1], aim.load(Ordering::Relaxed)));
                    tokio::spawn(carry(client, server, seen.clone()));
                }
            }
        });
        Ok(Self { port, upstream, trouble, accepting })
    }

    /// Sends new connections to the server on another port from now on.
    pub fn aim(&self, upstream: u16) {
        self.upstream.store(upstream, Ordering::Relaxed);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Misbehaves like this from now on. Losing packets needs a network namespace of our own.
    pub fn set(&self, trouble: Trouble) -> Result<()> {
        let before = self.trouble.send_replace(trouble);
        if before.packets() != trouble.packets() {
            packets::lose(self.port, trouble.packets())?;
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection, until either side ends it or the edge is reset.
async fn carry(client: TcpStream, upstream: SocketAddr, mut trouble: watch::Receiver<Trouble>) {
    let reset = |stream: &TcpStream| drop(stream.set_zero_linger());
    if trouble.borrow().reset {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return reset(&client) };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        // Whatever ends this connection early ends it for both sides, as a reset would.
        reset(stream);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pump(from_client, to_server, trouble.clone());
    let back = pump(from_server, to_client, trouble.clone());
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = trouble.wait_for(|trouble| trouble.reset) => {}
    }
}

/// Carries one direction until its source ends.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, trouble: watch::Receiver<Trouble>) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    let reading = async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            let due = Instant::now() + Duration::from_millis(trouble.borrow().delay_ms);
            if queue.send((due, chunk[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = queued.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

/// The proxies, by what they connect.
pub type Edges = std::collections::BTreeMap<Edge, Arc<Proxy>>;

/// A client and a store of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    OrderRedis,
    OrderSql,
    RelayRedis,
    RelaySql,
    WorkerRedis,
    WorkerSql,
    PaymentSql,
    Provider,
    DeliverySql,
    Kafka,
}

impl Edge {
    pub const ALL: [Self; 10] = [
        Self::OrderRedis,
        Self::OrderSql,
        Self::RelayRedis,
        Self::RelaySql,
        Self::WorkerRedis,
        Self::WorkerSql,
        Self::PaymentSql,
        Self::Provider,
        Self::DeliverySql,
        Self::Kafka,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::OrderRedis => "order–Redis",
            Self::OrderSql => "order–PostgreSQL",
            Self::RelayRedis => "relay–Redis",
            Self::RelaySql => "relay–PostgreSQL",
            Self::WorkerRedis => "order-worker–Redis",
            Self::WorkerSql => "order-worker–PostgreSQL",
            Self::PaymentSql => "payment-worker–PostgreSQL",
            Self::Provider => "payment-worker–provider",
            Self::DeliverySql => "delivery-worker–PostgreSQL",
            Self::Kafka => "everybody–Kafka",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that repeats what it hears, behind a proxy.
    async fn echo() -> Result<Proxy> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let upstream = server.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::start(rocketmart_harness::ports::free_port()?, upstream).await
    }

    async fn say(stream: &mut TcpStream) -> std::io::Result<String> {
        stream.write_all(b"hello").await?;
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await?;
        Ok(String::from_utf8_lossy(&heard).into_owned())
    }

    #[tokio::test]
    async fn a_delay_is_felt_in_both_directions() -> Result<()> {
        let proxy = echo().await?;
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await?;
        assert_eq!(say(&mut stream).await?, "hello");
        proxy.set(Trouble { delay_ms: 100, ..Trouble::default() })?;
        let started = Instant::now();
        say(&mut stream).await?;
        assert!(started.elapsed() >= Duration::from_millis(200));
        Ok(())
    }

    #[tokio::test]
    async fn a_reset_ends_connections_and_refuses_new_ones_until_it_is_healed() -> Result<()> {
        let proxy = echo().await?;
        let mut old = TcpStream::connect(("127.0.0.1", proxy.port())).await?;
        say(&mut old).await?;
        proxy.set(Trouble { reset: true, ..Trouble::default() })?;
        assert!(say(&mut old).await.is_err());
        let mut new = TcpStream::connect(("127.0.0.1", proxy.port())).await?;
        assert!(say(&mut new).await.is_err());
        proxy.set(Trouble::default())?;
        let mut healed = TcpStream::connect(("127.0.0.1", proxy.port())).await?;
        assert_eq!(say(&mut healed).await?, "hello");
        Ok(())
    }
}
