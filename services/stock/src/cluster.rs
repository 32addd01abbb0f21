//! A Redis cluster: its masters share out the slots, and with them the sales.
//!
//! ```text
//!   a call about a sale ──▶ slot of its keys ──▶ master of the slot ──▶ connection of its own
//!                                                     ▲
//!   all nodes, at once ──▶ who has which slots ───────┘   (slots.rs)
//! ```
//! All keys of a sale share a hash tag and so a slot, and a call is always about one sale. If we ask a node
//! for another node's slot, it redirects us and does nothing (`MOVED`, `ASK`).
//!
//! We ask the nodes once a second while there are calls, and sooner when a call was redirected or a master is
//! down. Only the very first calls wait for that: sales on the other masters go on meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::Client;
use tokio::sync::Mutex;

use crate::connection::Connection;
use crate::error::StockError;
use crate::owner::Owner;
use crate::sentinel::Locator;
use crate::server::{ClusterNodes, Login, ask_all};
use crate::slots::{self, Address, Claim, Range};

/// How often we ask the nodes while all is well.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often we ask them while there is trouble.
const ASK_SOON: Duration = Duration::from_millis(200);

/// The masters of a cluster, each with a connection of its own.
#[derive(Debug)]
pub(crate) struct Cluster {
    seeds: Vec<Client>,
    login: Login,
    owner: Option<Owner>,
    min_replicas: usize,
    response_timeout: Duration,
    /// The connections set this when other servers may be the masters now.
    trouble: Arc<AtomicBool>,
    known: RwLock<Arc<View>>,
    /// When we last asked the nodes.
    asked: std::sync::Mutex<Option<Instant>>,
    /// Held while we ask. If we knew nothing yet and asking failed: when, and why.
    asking: Mutex<Option<(Instant, StockError)>>,
}

/// What we know of the cluster; nothing at first.
#[derive(Debug, Default)]
struct View {
    claims: BTreeSet<Claim>,
    ranges: Vec<Range>,
    masters: HashMap<Address, Master>,
}

#[derive(Clone, Debug)]
struct Master {
    server: Client,
    connection: Arc<Connection>,
}

impl Cluster {
    pub(crate) fn new(
        nodes: &ClusterNodes,
        owner: Option<Owner>,
        response_timeout: Duration,
    ) -> Result<Self, StockError> {
        let login = Login::new(nodes.username.as_deref(), nodes.password.as_deref(), nodes.tls.clone());
        let seeds = nodes.addresses.iter().map(|address| login.at(address));
        Ok(Self {
            seeds: seeds.collect::<Result<_, _>>()?,
            login,
            owner,
            min_replicas: nodes.min_replicas,
            response_timeout,
            trouble: Arc::default(),
            known: RwLock::default(),
            asked: std::sync::Mutex::default(),
            asking: Mutex::default(),
        })
    }

    /// The connection to the master that owns this key.
    pub(crate) async fn to(self: &Arc<Self>, key: &str) -> Result<Arc<Connection>, StockError> {
        let slot = slots::of_key(key);
        let view = self.view().await?;
        let range = view.ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
        let master = range.and_then(|range| view.masters.get(&range.master));
        master.map(|master| Arc::clone(&master.connection)).ok_or_else(|| {
            self.trouble.store(true, Ordering::Relaxed);
            StockError::Unavailable(format!("slot {slot} has no master in the cluster"))
        })
    }

    /// Connections to all masters, with their addresses.
    pub(crate) async fn all(self: &Arc<Self>) -> Result<Vec<(String, Arc<Connection>)>, StockError> {
        let view = self.view().await?;
        let named = view
            .masters
            .iter()
            .map(|((host, port), master)| (format!("{host}:{port}"), Arc::clone(&master.connection)));
        Ok(named.collect())
    }

    async fn view(self: &Arc<Self>) -> Result<Arc<View>, StockError> {
        let known = self.known();
        if known.ranges.is_empty() {
            return self.first_look().await;
        }
        if self.is_time_to_ask() {
            let cluster = Arc::clone(self);
            tokio::spawn(async move { cluster.look_again().await });
        }
        Ok(known)
    }

    /// One caller asks, and the others wait for what it learns.
    async fn first_look(&self) -> Result<Arc<View>, StockError> {
        let mut failed = self.asking.lock().await;
        let known = self.known();
        if !known.ranges.is_empty() {
            return Ok(known);
        }
        if let Some((at, error)) = &*failed
            && at.elapsed() < ASK_SOON
        {
            return Err(error.clone());
        }
        let learnt = self.learn().await;
        *failed = learnt.as_ref().err().map(|error| (Instant::now(), error.clone()));
        learnt
    }

    async fn look_again(&self) {
        let learnt = match self.asking.try_lock() {
            Ok(_asking) => self.learn().await.map(|_| ()),
            // Whoever is asking already may have begun before the trouble.
            Err(_) => return self.trouble.store(true, Ordering::Relaxed),
        };
        if let Err(error) = learnt {
            tracing::warn!(%error, "the cluster of Redis does not say who its masters are");
            self.trouble.store(true, Ordering::Relaxed);
        }
    }

    fn is_time_to_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = if self.trouble.load(Ordering::Relaxed) { ASK_SOON } else { ASK_AGAIN };
        if asked.is_some_and(|asked| asked.elapsed() < pause) {
            return false;
        }
        *asked = Some(Instant::now());
        self.trouble.store(false, Ordering::Relaxed);
        true
    }

    fn known(&self) -> Arc<View> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the configured nodes and the masters that they named: one of the former may be gone for good.
    async fn learn(&self) -> Result<Arc<View>, StockError> {
        let known = self.known();
        let mut nodes = self.seeds.clone();
        for master in known.masters.values() {
            let address = master.server.get_connection_info().addr();
            if nodes.iter().all(|node| node.get_connection_info().addr() != address) {
                nodes.push(master.server.clone());
            }
        }
        let told = ask_all(&nodes, "who has which slots of the cluster", slots::ask).await?;
        let claims: BTreeSet<_> = told.into_iter().flatten().collect();
        if claims == known.claims {
            return Ok(known);
        }
        let learnt = Arc::new(self.follow(claims, &known)?);
        if learnt.ranges != known.ranges {
            let masters = learnt.masters.keys().map(|(host, port)| format!("{host}:{port}"));
            let masters: Vec<_> = masters.collect();
            tracing::info!(?masters, "the masters of the cluster of Redis, or their slots, are others now");
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&learnt);
        Ok(learnt)
    }

    /// What the claims add up to. A master that stays keeps its connection.
    fn follow(&self, claims: BTreeSet<Claim>, known: &View) -> Result<View, StockError> {
        let ranges = slots::settle(&claims);
        let mut masters = HashMap::new();
        for Range { master: address, .. } in &ranges {
            if masters.contains_key(address) {
                continue;
            }
            let master = match known.masters.get(address) {
                Some(master) => master.clone(),
                None => self.master(address)?,
            };
            masters.insert(address.clone(), master);
        }
        Ok(View { claims, ranges, masters })
    }

    fn master(&self, (host, port): &Address) -> Result<Master, StockError> {
        let server = self.login.client(host, *port)?;
        let (locator, owner) = (Locator::Fixed(server.clone()), self.owner.clone());
        let connection = Connection::new(locator, owner, self.min_replicas, self.response_timeout)
            .that_tells(Arc::clone(&self.trouble));
        Ok(Master { server, connection: Arc::new(connection) })
    }
}
