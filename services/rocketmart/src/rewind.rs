//! `rocketmart rewind`: consumer groups read again what came since a backup was made.
//!
//! Run where Kafka can be reached, with the environment of a component, while the workers are stopped:
//! docs/restore.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::{self, Rewound};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event_schemas;

/// They read their topics from the beginning whenever they start, and have no group.
const WITHOUT_A_GROUP: [&str; 2] = ["catalog", "search"];
/// A worker that was killed is a member of its group for so long.
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
    component: Vec<String>,
}

impl Rewind {
    pub(crate) async fn run(self) -> Result<()> {
        let mut groups = groups();
        for component in &self.component {
            ensure!(groups.contains_key(component.as_str()), "no component `{component}` has a group");
        }
        groups.retain(|component, _| {
            self.component.is_empty() || self.component.iter().any(|wanted| wanted == component)
        });
        for (component, topics) in groups {
            let topics: Vec<&str> = topics.into_iter().collect();
            for Rewound { topic, partition, from, to, end } in
                self.once_it_is_empty(component, &topics).await?
            {
                let from = from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
                println!("{component}  {topic}/{partition}  from {from} to {to}, {} to read", end - to);
            }
        }
        Ok(())
    }

    async fn once_it_is_empty(&self, component: &str, topics: &[&str]) -> Result<Vec<Rewound>> {
        let deadline = tokio::time::Instant::now() + LEAVING;
        loop {
            match kafka::rewind(&self.kafka, component, topics, self.to).await {
                Ok(rewound) => return Ok(rewound),
                Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
                Err(error) => eprintln!("waiting: {error:#}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The topics that each group reads, by component.
fn groups() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let published = event_schemas::published();
    let mut groups: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for read in event_schemas::read() {
        let topics = published.iter().filter(|event| event.event_type == read.event_type);
        groups.entry(read.component).or_default().extend(topics.map(|event| event.topic));
    }
    for component in WITHOUT_A_GROUP {
        groups.remove(component);
    }
    groups
}

fn moment(text: &str) -> Result<OffsetDateTime, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339)
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn the_groups_are_those_of_the_workers() {
        let groups = groups();
        let of = |component: &str| groups[component].iter().copied().collect::<Vec<_>>();
        assert_eq!(groups.len(), 3);
        assert_eq!(of("order-worker"), ["deliveries", "payments", "products", "reservations"]);
        assert_eq!((of("payment-worker"), of("delivery-worker")), (vec!["orders"], vec!["orders"]));
    }
}
