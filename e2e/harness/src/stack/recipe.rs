//! How to start a shop: which components, how many of each, on which ports, with which environment.
//!
//! All ports are chosen first, because the environment of each component names those of others.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    ADMIN_EMAIL, ADMIN_PASSWORD, Backing, Component, INTERNAL_TOKEN, OPERATOR_TOKEN, PROVIDER_SECRET, Stack,
    component::{Ports, Replica},
    url,
};
use crate::process;

const START_LIMIT: Duration = Duration::from_mins(2);

/// Which components to start, how many of each, and what differs in their environment.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub(super) program: PathBuf,
    replicas: BTreeMap<Component, usize>,
    environment: Vec<(Component, String, String)>,
    fixed_ports: bool,
}

impl Recipe {
    /// All components, one replica each. `program` is the built `rocketmart`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            replicas: Component::ALL.into_iter().map(|component| (component, 1)).collect(),
            environment: Vec::new(),
            fixed_ports: false,
        }
    }

    /// Only these components.
    pub fn only(mut self, components: &[Component]) -> Self {
        for (component, replicas) in &mut self.replicas {
            *replicas = usize::from(components.contains(component));
        }
        self
    }

    /// This many replicas; 0 leaves the component out.
    pub fn replicas(mut self, component: Component, count: usize) -> Self {
        self.replicas.insert(component, count);
        self
    }

    /// Sets an environment variable of a component, in place of or in addition to the usual ones.
    pub fn env(mut self, component: Component, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((component, name.to_owned(), value.into()));
        self
    }

    /// Uses the ports of `cargo xtask dev` instead of free ones.
    pub fn fixed_ports(mut self) -> Self {
        self.fixed_ports = true;
        self
    }

    /// Starts stores and components, and waits until all are ready.
    pub fn start(&self) -> Result<Stack> {
        self.start_on(Backing::start()?)
    }

    /// Starts the components on stores that already run, and waits until all are ready.
    pub fn start_on(&self, backing: Backing) -> Result<Stack> {
        let folder = process::scratch("stack")?;
        let mut stack = Stack { replicas: Vec::new(), backing, folder };
        make_signing_key(&stack.signing_key())?;
        let mut ports = BTreeMap::new();
        for component in Component::ALL {
            // A component that is not started still has an address, where nobody answers.
            for number in 0..self.replicas[&component].max(1) {
                let free = || component.free_ports();
                let chosen = if self.fixed_ports { component.fixed_ports(number) } else { free()? };
                ports.insert((component, number), chosen);
            }
        }
        for (&(component, number), own) in &ports {
            if number < self.replicas[&component] {
                let environment = self.environment_of(component, *own, &ports, &stack);
                let replica = Replica::new(self, component, number, *own, environment, &stack.folder);
                stack.replicas.push(replica);
            }
        }
        for replica in &mut stack.replicas {
            replica.spawn()?;
        }
        stack.wait_until_ready(START_LIMIT)?;
        Ok(stack)
    }

    fn environment_of(
        &self,
        component: Component,
        own: Ports,
        ports: &BTreeMap<(Component, usize), Ports>,
        stack: &Stack,
    ) -> Vec<(String, String)> {
        let first = |component| ports[&(component, 0)];
        let behind_the_entrance = Component::ALL.into_iter().filter(|each| !each.routes().is_empty());
        let behind_the_entrance =
            behind_the_entrance.map(|each| format!("{}=127.0.0.1:{}", each.name(), first(each).api));
        let behind_the_entrance: Vec<_> = behind_the_entrance.collect();
        let listen = |port| format!("127.0.0.1:{port}");
        let mut environment = BTreeMap::from([
            ("LOG_FORMAT", "text".to_owned()),
            ("LISTEN", listen(own.api)),
            ("ADMIN_LISTEN", listen(own.admin)),
            ("SMTP_LISTEN", listen(own.admin)),
            ("MAIL_HTTP_LISTEN", listen(own.api)),
            ("PROVIDER_LISTEN", listen(own.api)),
            ("PROVIDER_STATE_FILE", stack.folder.join("provider.journal").display().to_string()),
            (
                "PROVIDER_CALLBACK_URL",
                format!("{}/api/v1/payments/callbacks", url(first(Component::Payment).api)),
            ),
            ("REDIS_URL", stack.backing.redis.url()),
            ("KAFKA_BROKERS", stack.backing.kafka.brokers()),
            ("AUTH_JWKS_URL", format!("{}/.well-known/jwks.json", url(first(Component::Member).api))),
            (
                "AUTH_REVOCATIONS_URL",
                format!("{}/internal/v1/revocations", url(first(Component::Member).api)),
            ),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN.into()),
            ("INTERNAL_TOKEN", INTERNAL_TOKEN.into()),
            ("PAYMENT_URL", url(first(Component::Payment).api)),
            ("DELIVERY_URL", url(first(Component::Delivery).api)),
            ("SMTP_URL", format!("smtp://127.0.0.1:{}", first(Component::SimulateMail).admin)),
            ("PUBLIC_URL", url(first(Component::SimulateEntrance).api)),
            ("ENTRANCE_LISTEN", listen(own.api)),
            ("ENTRANCE_BACKENDS", behind_the_entrance.join(",")),
            ("SIGNING_KEY_FILE", stack.signing_key().display().to_string()),
            ("ADMIN_EMAIL", ADMIN_EMAIL.into()),
            ("ADMIN_PASSWORD", ADMIN_PASSWORD.into()),
            ("PAYMENT_PROVIDER_URL", url(first(Component::SimulateProvider).api)),
            ("PAYMENT_PROVIDER_SECRET", PROVIDER_SECRET.into()),
        ]);
        if let Some(database) = component.database() {
            environment.insert("DATABASE_URL", stack.database_url(database));
        }
        let mut environment: BTreeMap<String, String> =
            environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for (_, name, value) in self.environment.iter().filter(|(of, ..)| *of == component) {
            environment.insert(name.clone(), value.clone());
        }
        environment.into_iter().collect()
    }
}

/// An Ed25519 key for the tokens of this run.
fn make_signing_key(path: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(path)
        .output()
        .context("running openssl")?;
    if !output.status.success() {
        bail!("openssl genpkey: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
