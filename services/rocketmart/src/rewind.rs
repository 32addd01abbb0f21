//! `rocketmart rewind`: makes consumer groups read again what came since a backup was made.
//!
//! Run it where Kafka can be reached, with the environment of a component, while the workers are stopped:
//! docs/restore.md.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use rocketmart_contracts::component::Component;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::{self, Rewound};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A killed worker stays a member of its group for this long.
const LEAVING: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(1);

/// Which groups to move back, and how far.
#[derive(Args)]
pub(crate) struct Rewind {
    #[command(flatten)]
    kafka: KafkaConfig,
    /// A time (RFC 3339) well before the backup was begun, when no worker was behind; without it, the beginning
    /// of what Kafka has.
    #[arg(long, value_parser = moment)]
    to: Option<OffsetDateTime>,
    /// The groups of these components only, e.g. `order-worker`.
    #[arg(long)]
    component: Vec<Component>,
}

impl Rewind {
    pub(crate) async fn run(self) -> Result<()> {
        for component in &self.component {
            ensure!(component.has_consumer_group(), "the component `{component}` has no group");
        }
        let is_wanted = |component: &Component| {
            component.has_consumer_group()
                && (self.component.is_empty() || self.component.contains(component))
        };
        for component in Component::ALL.into_iter().filter(is_wanted) {
            for Rewound { topic, partition, from, to, end } in self.once_it_is_empty(component).await? {
                let from = from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
                println!("{component}  {topic}/{partition}  from {from} to {to}, {} to read", end - to);
            }
        }
        Ok(())
    }

    async fn once_it_is_empty(&self, component: Component) -> Result<Vec<Rewound>> {
        let deadline = tokio::time::Instant::now() + LEAVING;
        loop {
            match kafka::rewind(&self.kafka, component.as_str(), component.consumes(), self.to).await {
                Ok(rewound) => return Ok(rewound),
                Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
                Err(error) => eprintln!("waiting: {error:#}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn moment(text: &str) -> Result<OffsetDateTime, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rocketmart_contracts::component::Component;

    use crate::event_schemas;

    /// A component that reads a whole topic at each start has no group and nothing to rewind.
    #[test]
    fn the_groups_are_those_of_the_workers_and_read_all_that_their_components_understand() {
        let groups = Component::ALL.into_iter().filter(|component| component.has_consumer_group());
        let groups: Vec<_> = groups.collect();
        assert_eq!(groups, [Component::OrderWorker, Component::PaymentWorker, Component::DeliveryWorker]);
        let (written, read) = (event_schemas::published(), event_schemas::read());
        for group in groups {
            let understood = read.iter().filter(|event| event.component == group);
            let topic = |event_type: &str| {
                written.iter().find(|event| event.event_type == event_type).map(|event| event.topic)
            };
            let understood: BTreeSet<_> = understood.filter_map(|event| topic(event.event_type)).collect();
            assert_eq!(understood, group.consumes().iter().copied().collect(), "{group}");
        }
    }
}
