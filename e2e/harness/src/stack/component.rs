//! The components of a shop as processes: names, databases, ports, environment.

use std::path::Path;

use anyhow::{Result, bail};
use rocketmart_contracts::component::Component as OfShop;

use super::{Recipe, http};
use crate::{
    ports,
    process::{self, Process, Server},
    step,
};

/// A role of the `rocketmart` program, in the order in which they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    SimulateMail,
    SimulateProvider,
    SimulateEntrance,
    Member,
    Catalog,
    Search,
    Order,
    OrderRelay,
    OrderWorker,
    Payment,
    PaymentWorker,
    Delivery,
    DeliveryWorker,
}

/// The fixed ports of `cargo xtask dev` begin here; further replicas follow at this distance.
const FIRST_PORT: u16 = 8081;
const FIRST_ADMIN_PORT: u16 = 9081;
const REPLICA_DISTANCE: u16 = 100;
const MAIL_PORTS: Ports = Ports { api: 8026, admin: 8025 };
const PROVIDER_PORTS: Ports = Ports { api: 8090, admin: 8090 };
const ENTRANCE_PORTS: Ports = Ports { api: 8080, admin: 8080 };

impl Component {
    pub const ALL: [Self; 13] = [
        Self::SimulateMail,
        Self::SimulateProvider,
        Self::SimulateEntrance,
        Self::Member,
        Self::Catalog,
        Self::Search,
        Self::Order,
        Self::OrderRelay,
        Self::OrderWorker,
        Self::Payment,
        Self::PaymentWorker,
        Self::Delivery,
        Self::DeliveryWorker,
    ];

    /// Which part of the shop it is; `None` for the simulated outside world.
    pub fn of_shop(self) -> Option<OfShop> {
        Some(match self {
            Self::SimulateMail | Self::SimulateProvider | Self::SimulateEntrance => return None,
            Self::Member => OfShop::Member,
            Self::Catalog => OfShop::Catalog,
            Self::Search => OfShop::Search,
            Self::Order => OfShop::Order,
            Self::OrderRelay => OfShop::OrderRelay,
            Self::OrderWorker => OfShop::OrderWorker,
            Self::Payment => OfShop::Payment,
            Self::PaymentWorker => OfShop::PaymentWorker,
            Self::Delivery => OfShop::Delivery,
            Self::DeliveryWorker => OfShop::DeliveryWorker,
        })
    }

    /// The name in `rocketmart <name>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SimulateMail => "simulate-mail",
            Self::SimulateProvider => "simulate-provider",
            Self::SimulateEntrance => "simulate-entrance",
            other => other.of_shop().map_or("", OfShop::as_str),
        }
    }

    /// Whether it belongs to the simulated outside world.
    pub fn is_simulator(self) -> bool {
        self.of_shop().is_none()
    }

    /// Whether it serves an HTTP API; the others have only probes and metrics.
    pub fn serves_http(self) -> bool {
        self.of_shop().is_none_or(OfShop::serves_http)
    }

    /// The path prefixes that the entrance routes to it.
    pub fn routes(self) -> &'static [&'static str] {
        self.of_shop().map_or(&[], OfShop::routes)
    }

    /// The database it owns or shares with its service.
    pub(super) fn database(self) -> Option<&'static str> {
        self.of_shop()?.needs().database
    }

    /// The ports that the documentation of `cargo xtask dev` names.
    pub(super) fn fixed_ports(self, replica: usize) -> Ports {
        let distance = REPLICA_DISTANCE * u16::try_from(replica).unwrap_or_default();
        let Ports { api, admin } = match self {
            Self::SimulateMail => MAIL_PORTS,
            Self::SimulateProvider => PROVIDER_PORTS,
            Self::SimulateEntrance => ENTRANCE_PORTS,
            other => {
                let place =
                    Self::ALL.iter().filter(|each| !each.is_simulator()).take_while(|each| **each != other);
                let place = u16::try_from(place.count()).unwrap_or_default();
                Ports { api: FIRST_PORT + place, admin: FIRST_ADMIN_PORT + place }
            }
        };
        Ports { api: api + distance, admin: admin + distance }
    }

    pub(super) fn free_ports(self) -> Result<Ports> {
        let api = ports::free_port()?;
        let one_port = matches!(self, Self::SimulateProvider | Self::SimulateEntrance);
        let admin = if one_port { api } else { ports::free_port()? };
        Ok(Ports { api, admin })
    }
}

impl From<OfShop> for Component {
    fn from(part: OfShop) -> Self {
        let found = Self::ALL.into_iter().find(|component| component.of_shop() == Some(part));
        found.expect("every part of a shop is a process of it")
    }
}

/// Where a replica listens. The mail sink takes mail at `admin` and shows it at `api`. The payment provider
/// and the entrance have one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) api: u16,
    pub(super) admin: u16,
}

/// One process of a component; its ports and its log outlive it.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) component: Component,
    pub(super) number: usize,
    pub(super) ports: Ports,
    pub(super) server: Server,
    pub(super) process: Option<Process>,
}

impl Replica {
    pub(super) fn new(
        recipe: &Recipe,
        component: Component,
        number: usize,
        ports: Ports,
        environment: Vec<(String, String)>,
        folder: &Path,
    ) -> Self {
        let server = Server {
            name: component.name(),
            program: recipe.program.clone(),
            arguments: vec![component.name().to_owned()],
            environment,
            log: folder.join(format!("{}-{number}.log", component.name())),
            user: None,
        };
        Self { component, number, ports, server, process: None }
    }

    pub(super) fn spawn(&mut self) -> Result<()> {
        if let Some(mut old) = self.process.take() {
            old.kill();
        }
        self.process = Some(self.server.spawn()?);
        Ok(())
    }

    /// Whether it is ready to serve. If it ended before that, the error has the end of its log.
    pub(super) fn is_ready(&mut self) -> Result<bool> {
        if let Some(status) = self.ended()? {
            bail!("{self} ended with {status}\n{}", step::tail(&self.server.log));
        }
        if self.process.is_none() {
            return Ok(false);
        }
        Ok(match self.component {
            Component::SimulateMail => process::accepts(self.ports.api) && process::accepts(self.ports.admin),
            Component::SimulateProvider | Component::SimulateEntrance => process::accepts(self.ports.api),
            _ => http::get(self.ports.admin, "/readyz").is_ok_and(|answer| answer.status == 200),
        })
    }

    /// How the process ended, if it has. A process that was taken down does not count.
    pub(super) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        match &mut self.process {
            Some(process) => process.wait_for(std::time::Duration::ZERO),
            None => Ok(None),
        }
    }
}

impl std::fmt::Display for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.component.name(), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_ports_are_those_of_the_documentation_and_never_shared() {
        assert_eq!(Component::Member.fixed_ports(0), Ports { api: 8081, admin: 9081 });
        assert_eq!(Component::Order.fixed_ports(1), Ports { api: 8184, admin: 9184 });
        let mut listening: Vec<u16> = Component::ALL
            .iter()
            .flat_map(|component| {
                let ports = component.fixed_ports(0);
                let api = component.serves_http().then_some(ports.api);
                api.into_iter().chain((ports.admin != ports.api).then_some(ports.admin))
            })
            .collect();
        let all = listening.len();
        listening.sort_unstable();
        listening.dedup();
        assert_eq!(listening.len(), all);
    }
}
