//! A whole shop as plain processes on loopback: real Redis, PostgreSQL and Kafka, the simulated outside
//! world, and every component as the process it is in a cluster, without a cluster.
//!
//! ```no_run
//! use rocketmart_harness::stack::{Component, Recipe};
//! # fn main() -> anyhow::Result<()> {
//! let mut shop = Recipe::new("target/debug/rocketmart")
//!     .replicas(Component::Order, 2)
//!     .env(Component::OrderWorker, "DATABASE_MAX_CONNECTIONS", "4")
//!     .start()?;
//! println!("{} {}", shop.url(Component::Order), shop.database_url("order"));
//! shop.backing.redis.kill();
//! shop.kill(Component::Order, 1)?;
//! shop.backing.redis.restart()?;
//! shop.revive()?; // what a kubelet does: starts what has ended
//! shop.wait_until_ready(std::time::Duration::from_mins(1))?;
//! # Ok(()) }
//! ```
//!
//! The ports are free ones unless the recipe asks for fixed ones. Dropping the [`Stack`] ends and removes
//! everything. So does killing the process that holds it (see [`crate::process`]).

mod backing;
mod component;
mod http;
mod internal_api;
mod recipe;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use self::component::Replica;
pub use self::{backing::Backing, component::Component, internal_api::InternalApi, recipe::Recipe};
use crate::{process, step};

/// The first administrator of the shop.
pub const ADMIN_EMAIL: &str = "admin@rocketmart.example";
pub const ADMIN_PASSWORD: &str = "development only password";
pub const OPERATOR_TOKEN: &str = "development-only";
pub const INTERNAL_TOKEN: &str = "development only, inside";
pub const PROVIDER_SECRET: &str = "development only";

const STOP_LIMIT: Duration = Duration::from_secs(40);

/// A running shop. A component is addressed by its kind and the number of its replica, from 0.
#[derive(Debug)]
pub struct Stack {
    // They are dropped in this order, so that no component looks for a store that has gone before it.
    replicas: Vec<Replica>,
    pub backing: Backing,
    folder: PathBuf,
}

impl Stack {
    /// The base URL of a component's first replica.
    pub fn url(&self, component: Component) -> String {
        self.urls(component).into_iter().next().unwrap_or_default()
    }

    /// The base URLs of all replicas of a component.
    pub fn urls(&self, component: Component) -> Vec<String> {
        self.of(component).map(|replica| url(replica.ports.api)).collect()
    }

    /// Where the first replica serves its probes and metrics.
    pub fn admin_url(&self, component: Component) -> String {
        self.admin_urls(component).into_iter().next().unwrap_or_default()
    }

    pub fn admin_urls(&self, component: Component) -> Vec<String> {
        self.of(component).map(|replica| url(replica.ports.admin)).collect()
    }

    /// What an entrance would route: the first part of a path, and the replicas behind it.
    pub fn routes(&self) -> Vec<(&'static str, Vec<String>)> {
        let components = Component::ALL.into_iter();
        components.flat_map(|each| each.routes().iter().map(move |route| (*route, self.urls(each)))).collect()
    }

    /// `order`, `payment`, `delivery`, `member` or `catalog`.
    pub fn database_url(&self, name: &str) -> String {
        self.backing.postgres.url(name)
    }

    /// The PEM file of the Ed25519 key that signs this shop's tokens.
    pub fn signing_key(&self) -> PathBuf {
        self.folder.join("signing-key.pem")
    }

    /// The folder with the logs and everything else of this run; it is removed with the stack.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The order service's API for the operator.
    pub fn internal_api(&self) -> InternalApi {
        let ports = self.of(Component::Order).map(|replica| replica.ports.api).collect();
        InternalApi { ports, token: OPERATOR_TOKEN.into(), fence: 1 }
    }

    pub fn pid(&self, component: Component, number: usize) -> Option<u32> {
        let mut replicas = self.of(component);
        replicas.find(|replica| replica.number == number)?.process.as_ref().map(process::Process::id)
    }

    /// SIGKILL. The next [`Stack::revive`] starts it again.
    pub fn kill(&mut self, component: Component, number: usize) -> Result<()> {
        if let Some(process) = &mut self.replica(component, number)?.process {
            process.kill();
        }
        Ok(())
    }

    /// Sends a signal by name, e.g. `STOP` and `CONT`, or `TERM`.
    pub fn signal(&mut self, component: Component, number: usize, name: &str) -> Result<()> {
        match &self.replica(component, number)?.process {
            Some(process) => process.signal(name),
            None => bail!("{} {number} was taken down", component.name()),
        }
    }

    /// SIGTERM, then waits for its orderly end. It stays down until [`Stack::start`].
    pub fn stop(&mut self, component: Component, number: usize) -> Result<()> {
        let replica = self.replica(component, number)?;
        let Some(mut process) = replica.process.take() else { return Ok(()) };
        process.signal("TERM")?;
        match process.wait_for(STOP_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{replica} ended with {status}\n{}", step::tail(&replica.server.log)),
            None => bail!("{replica} did not end on SIGTERM\n{}", step::tail(&replica.server.log)),
        }
    }

    /// SIGKILL; it stays down until [`Stack::start`].
    pub fn take_down(&mut self, component: Component, number: usize) -> Result<()> {
        if let Some(mut process) = self.replica(component, number)?.process.take() {
            process.kill();
        }
        Ok(())
    }

    /// Changes or removes a variable of a replica's environment, from its next start on.
    pub fn set_env(
        &mut self,
        component: Component,
        number: usize,
        name: &str,
        value: Option<&str>,
    ) -> Result<()> {
        let environment = &mut self.replica(component, number)?.server.environment;
        environment.retain(|(known, _)| known != name);
        environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        Ok(())
    }

    /// Starts a replica after ending the process it had. Does not wait until it is ready.
    pub fn start(&mut self, component: Component, number: usize) -> Result<()> {
        self.replica(component, number)?.spawn()
    }

    /// Restarts every process that ended by itself or was killed, as a kubelet would, and returns their
    /// names. A process that was stopped stays down.
    pub fn revive(&mut self) -> Result<Vec<String>> {
        let mut revived = Vec::new();
        for replica in &mut self.replicas {
            if let Some(status) = replica.ended()? {
                revived.push(format!("{replica} ({status})"));
                replica.spawn()?;
            }
        }
        Ok(revived)
    }

    /// Which processes have ended, and how.
    pub fn ended(&mut self) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for replica in &mut self.replicas {
            if let Some(status) = replica.ended()? {
                ended.push(format!("{replica} ended with {status}\n{}", step::tail(&replica.server.log)));
            }
        }
        Ok(ended)
    }

    /// Replicas that were started and are not ready; one that has ended counts too.
    pub fn not_ready(&mut self) -> Vec<String> {
        let started = self.replicas.iter_mut().filter(|replica| replica.process.is_some());
        started.filter_map(|each| (!each.is_ready().unwrap_or(false)).then(|| each.to_string())).collect()
    }

    /// Whether a replica runs and serves.
    pub fn is_ready(&mut self, component: Component, number: usize) -> bool {
        self.replica(component, number).and_then(Replica::is_ready).unwrap_or(false)
    }

    /// Waits until everything that was started is ready. It is an error if a process ends meanwhile.
    pub fn wait_until_ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        for replica in self.replicas.iter_mut().filter(|replica| replica.process.is_some()) {
            while !replica.is_ready()? {
                if Instant::now() >= deadline {
                    let log = step::tail(&replica.server.log);
                    bail!("{replica} was not ready within {} s\n{log}", limit.as_secs());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// The log of a replica, across all its processes.
    pub fn log(&self, component: Component, number: usize) -> String {
        let replica = self.of(component).find(|replica| replica.number == number);
        replica.and_then(|replica| fs::read_to_string(&replica.server.log).ok()).unwrap_or_default()
    }

    fn of(&self, component: Component) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(move |replica| replica.component == component)
    }

    /// How many replicas of a component there are.
    pub fn replicas(&self, component: Component) -> usize {
        self.of(component).count()
    }

    fn replica(&mut self, component: Component, number: usize) -> Result<&mut Replica> {
        self.replicas
            .iter_mut()
            .find(|replica| (replica.component, replica.number) == (component, number))
            .with_context(|| format!("there is no {} {number}", component.name()))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.replicas.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
