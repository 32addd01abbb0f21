//! Runs shoppers at a pace, and counts the results.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::connection::{Answer, Connection};

/// How long one act may take; after that its outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a shopper rests while it is held back, or before it reconnects.
const REST: Duration = Duration::from_millis(5);
/// Latencies are recorded up to this, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// When shoppers act.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each shopper acts again as soon as it is answered.
    Closed,
    /// Shoppers act at intended times, this many acts per second in total.
    Open { per_second: f64 },
}

/// A load on one service.
#[derive(Debug, Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub pace: Pace,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub length: Duration,
    /// Ends earlier, after this many acts; then all of them are measured.
    pub acts: Option<u64>,
    /// The number of the first act.
    pub first: u64,
    /// While this is set, nobody starts anything new.
    pub hold: Arc<AtomicBool>,
}

/// One shopper: what it does as act `n` of the whole load.
pub trait Shopper: 'static {
    fn act(&mut self, line: &mut Connection, n: u64) -> impl Future<Output = io::Result<Told>>;
}

/// The result of an act.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// Status of its last answer.
    pub status: u16,
    /// Requests it made.
    pub requests: u32,
    /// The order that a 2xx promised it, if any.
    pub order: Option<Uuid>,
}

impl Told {
    /// The result of one purchase, from its answer: the id is the first field of an order.
    pub fn of_purchase(answer: Answer<'_>) -> Self {
        let order = (answer.status == 201).then(|| id_of(answer.body)).flatten();
        Self { status: answer.status, requests: 1, order }
    }
}

fn id_of(order: &[u8]) -> Option<Uuid> {
    let rest = order.strip_prefix(b"{\"id\":\"")?;
    std::str::from_utf8(rest.get(..36)?).ok()?.parse().ok()
}

/// Act number `n` was promised `order`.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    pub n: u64,
    pub order: Uuid,
}

/// The results of a load. It has all promises, including those of the warm-up; everything else is from the
/// measured time.
#[derive(Debug)]
pub struct Outcome {
    pub seconds: f64,
    /// Acts by the status of their last answer.
    pub answers: BTreeMap<u16, u64>,
    pub requests: u64,
    /// Acts without an answer: time-outs and broken connections.
    pub unknown: u64,
    /// Microseconds.
    pub latency: Histogram<u64>,
    pub promises: Vec<Promise>,
    /// The number of the next act.
    pub next: u64,
}

impl Outcome {
    /// Acts whose last answer was a success.
    pub fn succeeded(&self) -> u64 {
        self.answers.iter().filter(|(status, _)| (200..300).contains(*status)).map(|(_, count)| count).sum()
    }

    pub fn answered(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or_default()
    }

    /// The latency at a quantile, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a request fit a double exactly")]
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Everything that the shoppers of one thread share.
struct Shared {
    pace: Pace,
    hold: Arc<AtomicBool>,
    started: Instant,
    first: u64,
    last: u64,
    next: Cell<u64>,
    measuring: Cell<bool>,
    over: Cell<bool>,
    answers: RefCell<BTreeMap<u16, u64>>,
    requests: Cell<u64>,
    unknown: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
    promises: RefCell<Vec<Promise>>,
}

/// Runs a load on the calling thread. Calls `mark` when measuring begins and when it ends.
pub fn run<S: Shopper>(load: &Load, make: impl Fn() -> S, mut mark: impl FnMut()) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut lines = Vec::with_capacity(load.connections);
        for _ in 0..load.connections {
            lines.push(Connection::open(load.address).await.context("connecting to the service")?);
        }
        let shared = Rc::new(Shared {
            pace: load.pace,
            hold: Arc::clone(&load.hold),
            started: Instant::now(),
            first: load.first,
            last: load.acts.map_or(u64::MAX, |acts| load.first + acts),
            next: Cell::new(load.first),
            // Without a warm-up the first answer counts too, however soon it comes.
            measuring: Cell::new(load.warm_up.is_zero()),
            over: Cell::new(false),
            answers: RefCell::default(),
            requests: Cell::new(0),
            unknown: Cell::new(0),
            latency: RefCell::new(Histogram::new_with_bounds(1, LONGEST_US, 3)?),
            promises: RefCell::default(),
        });
        let mut shoppers = JoinSet::new();
        for line in lines {
            shoppers.spawn_local(shop(Rc::clone(&shared), load.address, line, make()));
        }
        sleep_until(shared.started + load.warm_up).await;
        mark();
        let began = Instant::now();
        shared.measuring.set(true);
        let all_done = async { while shoppers.join_next().await.is_some() {} };
        let _ended_early = tokio::time::timeout_at(began + load.length, all_done).await;
        let seconds = began.elapsed().as_secs_f64();
        mark();
        shared.measuring.set(false);
        shared.over.set(true);
        // Shoppers who wait for an answer still get it: its promise counts for the books.
        while shoppers.join_next().await.is_some() {}
        Ok(Outcome {
            seconds,
            answers: shared.answers.take(),
            requests: shared.requests.get(),
            unknown: shared.unknown.get(),
            latency: shared.latency.borrow().clone(),
            promises: shared.promises.take(),
            next: shared.next.get(),
        })
    })
}

async fn shop<S: Shopper>(shared: Rc<Shared>, address: SocketAddr, mut line: Connection, mut shopper: S) {
    while !shared.over.get() {
        if shared.hold.load(Ordering::Relaxed) {
            sleep(REST).await;
            continue;
        }
        let n = shared.next.get();
        if n >= shared.last {
            return;
        }
        shared.next.set(n + 1);
        let started = match shared.pace {
            Pace::Closed => Instant::now(),
            Pace::Open { per_second } => {
                #[expect(clippy::cast_precision_loss, reason = "numbers of acts are far below 2^52")]
                let offset = Duration::from_secs_f64((n - shared.first) as f64 / per_second);
                let intended = shared.started + offset;
                sleep_until(intended).await;
                intended
            }
        };
        if let Ok(Ok(told)) = tokio::time::timeout(PATIENCE, shopper.act(&mut line, n)).await {
            shared.note(n, told, started.elapsed());
        } else {
            shared.unknown.set(shared.unknown.get() + 1);
            match Connection::open(address).await {
                Ok(fresh) => line = fresh,
                Err(_) => sleep(REST).await,
            }
        }
    }
}

impl Shared {
    fn note(&self, n: u64, told: Told, took: Duration) {
        if let Some(order) = told.order {
            self.promises.borrow_mut().push(Promise { n, order });
        }
        if self.measuring.get() {
            *self.answers.borrow_mut().entry(told.status).or_default() += 1;
            self.requests.set(self.requests.get() + u64::from(told.requests));
            let took = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
            self.latency.borrow_mut().saturating_record(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    struct Asking;

    impl Shopper for Asking {
        async fn act(&mut self, line: &mut Connection, _n: u64) -> io::Result<Told> {
            let status = line.exchange(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?.status;
            Ok(Told { status, requests: 1, order: None })
        }
    }

    /// Answers every request with 200, one at a time, each after `pause`.
    fn slow_server(pause: Duration) -> Result<SocketAddr> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        std::thread::spawn(move || -> Result<()> {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let (mut stream, _) = listener.accept().await?;
                    tokio::spawn(async move {
                        let mut buffer = [0; 1024];
                        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                            sleep(pause).await;
                            if stream
                                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                                .await
                                .is_err()
                            {
                                break;
                            }
                        }
                    });
                }
            })
        });
        Ok(address)
    }

    fn load(address: SocketAddr, pace: Pace) -> Load {
        Load {
            address,
            connections: 1,
            pace,
            warm_up: Duration::ZERO,
            length: Duration::from_secs(30),
            acts: Some(10),
            first: 0,
            hold: Arc::default(),
        }
    }

    #[test]
    fn an_open_loop_charges_a_slow_service_for_those_who_had_to_wait() -> Result<()> {
        let address = slow_server(Duration::from_millis(50))?;
        let closed = run(&load(address, Pace::Closed), || Asking, || {})?;
        let open = run(&load(address, Pace::Open { per_second: 1_000.0 }), || Asking, || {})?;
        assert_eq!((closed.answered(200), open.answered(200)), (10, 10));
        // Each answer takes 50 ms. The last of ten shoppers who come at once has waited for nine others.
        assert!(open.latency_ms(1.0) >= 490.0, "{}", open.latency_ms(1.0));
        assert!(open.latency_ms(0.5) >= 200.0, "{}", open.latency_ms(0.5));
        Ok(())
    }

    #[test]
    fn who_is_held_back_starts_nothing() -> Result<()> {
        let address = slow_server(Duration::ZERO)?;
        let mut held = load(address, Pace::Closed);
        held.length = Duration::from_millis(100);
        held.hold.store(true, Ordering::Relaxed);
        assert_eq!(run(&held, || Asking, || {})?.requests, 0);
        Ok(())
    }
}
