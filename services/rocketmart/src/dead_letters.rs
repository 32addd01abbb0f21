//! `rocketmart dead-letters`: events that components could not handle, and a way to try them again.
//!
//! Run it where Kafka can be reached, with the environment of a component: docs/dead-letters.md.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::{DeadLetter, DeadLetterBox, LetterId};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What to do with messages that could not be handled.
#[derive(Subcommand)]
pub(crate) enum DeadLetters {
    /// One line for each letter that nobody has sent back yet, of all components or of one.
    List {
        #[command(flatten)]
        kafka: KafkaConfig,
        /// The component that could not handle them, e.g. `payment-worker`.
        #[arg(long)]
        component: Option<String>,
        /// Those that were sent back as well.
        #[arg(long)]
        all: bool,
    },
    /// Letters with everything they hold, as JSON.
    Show(Chosen),
    /// Sends letters back to the topics they came from, each once. One that still cannot be handled
    /// is parked again, as a new letter.
    Replay {
        #[command(flatten)]
        chosen: Chosen,
        /// Once more, also those that were sent back before.
        #[arg(long)]
        again: bool,
    },
}

#[derive(Args)]
pub(crate) struct Chosen {
    #[command(flatten)]
    kafka: KafkaConfig,
    /// The component that could not handle them, e.g. `payment-worker`.
    #[arg(long)]
    component: String,
    /// Letters by `partition/offset` as in the list, or by offset alone.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    letter: Vec<LetterId>,
    /// Every letter there is.
    #[arg(long)]
    all: bool,
}

impl DeadLetters {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::List { kafka, component, all } => list(&kafka, component.as_deref(), all).await,
            Self::Show(chosen) => {
                let letters = chosen.letters().await?;
                println!("{:#}", letters.iter().map(|letter| chosen.whole(letter)).collect::<Value>());
                Ok(())
            }
            Self::Replay { chosen, again } => chosen.replay(again).await,
        }
    }
}

async fn list(kafka: &KafkaConfig, component: Option<&str>, all: bool) -> Result<()> {
    let boxes = match component {
        Some(component) => vec![DeadLetterBox::of(kafka, component)],
        None => DeadLetterBox::all(kafka).await?,
    };
    let mut listed = 0;
    for found in &boxes {
        for letter in found.letters().await? {
            if all || letter.replayed_at.is_none() {
                println!("{}", line(&found.component, &letter));
                listed += 1;
            }
        }
    }
    eprintln!("{listed} {}", if all { "letters" } else { "letters wait" });
    Ok(())
}

impl Chosen {
    fn letter_box(&self) -> DeadLetterBox {
        DeadLetterBox::of(&self.kafka, &self.component)
    }

    /// All requested letters, or an error that names the first missing one.
    async fn letters(&self) -> Result<Vec<DeadLetter>> {
        let mut letters = self.letter_box().letters().await?;
        for id in &self.letter {
            let is_there = letters.iter().any(|letter| letter.id == *id);
            ensure!(is_there, "{} has no dead letter {id}", self.component);
        }
        letters.retain(|letter| self.all || self.letter.contains(&letter.id));
        Ok(letters)
    }

    async fn replay(&self, again: bool) -> Result<()> {
        let chosen: BTreeSet<LetterId> = self.letters().await?.iter().map(|letter| letter.id).collect();
        let wanted =
            |letter: &DeadLetter| chosen.contains(&letter.id) && (again || letter.replayed_at.is_none());
        let sent = self.letter_box().replay(wanted).await?;
        for letter in &sent {
            println!("{} sent to {}", letter.id, letter.origin.0);
        }
        let before = chosen.len() - sent.len();
        if before > 0 {
            eprintln!("{before} were sent back before; --again sends them once more");
        }
        Ok(())
    }

    fn whole(&self, letter: &DeadLetter) -> Value {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let headers =
            letter.headers.iter().map(|(key, value)| (key.clone(), json!(value.as_ref().map(text))));
        // JSON as it is; anything else as text.
        let data = letter
            .payload
            .as_ref()
            .map(|bytes| serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text(bytes))));
        let (topic, partition, offset) = &letter.origin;
        json!({
            "component": self.component,
            "letter": letter.id.to_string(),
            "parked_at": letter.parked_at.map(timestamp),
            "replayed_at": letter.replayed_at.map(timestamp),
            "error": letter.error,
            "origin": { "topic": topic, "partition": partition, "offset": offset },
            "key": letter.key.as_ref().map(text),
            "headers": headers.collect::<Map<_, _>>(),
            "data": data,
        })
    }
}

fn line(component: &str, letter: &DeadLetter) -> String {
    let (topic, partition, offset) = &letter.origin;
    format!(
        "{component} {}  {}  {}  {}  {topic}/{partition}/{offset}  {}  {}",
        letter.id,
        letter.parked_at.map(timestamp).unwrap_or_default(),
        letter.header("ce_type").unwrap_or("no-event"),
        letter.header("ce_id").unwrap_or("-"),
        if letter.replayed_at.is_some() { "replayed" } else { "waits" },
        // On one line, whatever it contains.
        letter.error.escape_debug(),
    )
}

fn timestamp(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
