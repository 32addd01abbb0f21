//! The state file: one JSON line per change, appended before the change is answered, read back at
//! start. A line cut short by a crash was never answered and is dropped.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::records::{Authorization, Charge, Refund};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    Charge {
        key: String,
        digest: u64,
        charge: Charge,
    },
    Refund {
        key: String,
        digest: u64,
        refund: Refund,
    },
    Void {
        reference: String,
    },
    Authorization {
        key: String,
        digest: u64,
        authorization: Authorization,
    },
    /// The charge names its authorization.
    Capture {
        key: String,
        digest: u64,
        charge: Charge,
    },
    AuthorizationVoid {
        key: String,
        digest: u64,
        authorization_id: String,
    },
}

pub(super) struct Journal(File);

impl Journal {
    /// The books as the file at `path` has them, kept in it from now on.
    pub(super) fn open(path: &Path) -> anyhow::Result<Ledger> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut ledger = Ledger::default();
        let mut reader = BufReader::new(&file);
        let (mut line, mut complete) = (String::new(), 0);
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            let entry = serde_json::from_str(&line).with_context(|| format!("reading the line {line}"))?;
            ledger.replay(entry);
            complete += line.len() as u64;
            line.clear();
        }
        file.set_len(complete)?;
        ledger.keep_in(Self(file));
        Ok(ledger)
    }

    /// A simulator that cannot write goes on from memory, and says so.
    pub(super) fn append(&mut self, entry: &Entry) {
        let written = serde_json::to_string(entry)
            .map_err(std::io::Error::from)
            .and_then(|line| self.0.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, "the state file cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Booked as _;
    use super::super::records::AuthorizationStatus::{Authorized, Captured, Voided};
    use super::super::records::ChargeRequest;
    use super::*;

    #[test]
    fn charges_survive_a_restart_and_a_torn_line_is_dropped() {
        let path = std::env::temp_dir().join(format!("provider-{}.jsonl", uuid::Uuid::new_v4()));
        let request = ChargeRequest {
            token: "tok_1".into(),
            amount: 7,
            currency: "EUR".into(),
            reference: "order-1".into(),
        };
        let charge = Journal::open(&path).unwrap().charge("k", &request, None).unwrap().value;
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"charge\":{\"k").unwrap();

        let mut restarted = Journal::open(&path).unwrap();
        let again = restarted.charge("k", &request, None).unwrap();
        assert_eq!((again.value, again.is_new), (charge.clone(), false));
        restarted.refund("r", &charge.id, None).unwrap();
        assert_eq!(Charge::book(&Journal::open(&path).unwrap()).find(&charge.id).unwrap().refunded, 7);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_became_of_authorizations_survives_a_restart() {
        let path = std::env::temp_dir().join(format!("provider-{}.jsonl", uuid::Uuid::new_v4()));
        let request = |reference: &str| ChargeRequest {
            token: "tok_1".into(),
            amount: 7,
            currency: "EUR".into(),
            reference: reference.into(),
        };
        let mut ledger = Journal::open(&path).unwrap();
        let ids = ["captured", "voided", "closed", "open"]
            .map(|name| ledger.authorize(name, &request(name), None).unwrap().value.id);
        let charge = ledger.capture("c", &ids[0]).unwrap().value;
        ledger.void_authorization("v", &ids[1]).unwrap();
        ledger.void("closed");

        let mut restarted = Journal::open(&path).unwrap();
        let statuses = ids.each_ref().map(|id| Authorization::book(&restarted).find(id).unwrap().status);
        assert_eq!(statuses, [Captured, Voided, Voided, Authorized]);
        assert_eq!(restarted.capture("c", &ids[0]).unwrap().value, charge);
        std::fs::remove_file(&path).unwrap();
    }
}
