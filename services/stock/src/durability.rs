//! Whether a server keeps what it accepted: the settings that a promise to a buyer rests on.
//!
//! We answer a purchase once it is on disk, so every change has to be written there before the answer
//! (`appendonly yes`, `appendfsync always`). And nothing may be thrown away to make room: a full Redis must
//! refuse. One with a `maxmemory-policy` other than `noeviction` forgets who holds what.
//!
//! Managed servers may forbid `CONFIG`. Then `INFO` still tells the policy and whether there is a log, but
//! nobody can know how often it is synced. We say so, and take it on trust.

use std::sync::atomic::{AtomicBool, Ordering};

/// How a server keeps what it accepted. `None` is what it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// Its name among the masters of a cluster; empty for a single server.
    pub server: String,
    /// `maxmemory-policy`.
    pub eviction: Option<String>,
    /// Whether there is an append-only file.
    pub appends: Option<bool>,
    /// `appendfsync`.
    pub syncs: Option<String>,
}

impl Durability {
    /// What has to be set differently, in words.
    pub fn flaw(&self) -> Option<String> {
        let mut flaws = Vec::new();
        if let Some(policy) = self.eviction.as_deref().filter(|policy| *policy != "noeviction") {
            flaws.push(format!("`maxmemory-policy` is `{policy}` and has to be `noeviction`"));
        }
        if self.appends == Some(false) {
            flaws.push("`appendonly` is `no` and has to be `yes`".to_owned());
        }
        if let Some(syncs) = self.syncs.as_deref().filter(|syncs| *syncs != "always") {
            flaws.push(format!("`appendfsync` is `{syncs}` and has to be `always`"));
        }
        let of = if self.server.is_empty() { String::new() } else { format!(" {}", self.server) };
        (!flaws.is_empty()).then(|| format!("Redis{of} may lose what it accepts: {}", flaws.join(", ")))
    }

    /// The settings that the server does not reveal.
    pub fn unknown(&self) -> Vec<&'static str> {
        let told = [
            ("maxmemory-policy", self.eviction.is_some()),
            ("appendonly", self.appends.is_some()),
            ("appendfsync", self.syncs.is_some()),
        ];
        told.into_iter().filter(|(_, told)| !told).map(|(setting, _)| setting).collect()
    }
}

/// The value of a field in an answer to `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

static ANY_SETTINGS: AtomicBool = AtomicBool::new(false);

/// Brings back the bug of relying on a Redis whatever its settings: for a test that must catch the
/// consequences.
pub fn believe_any_settings() {
    ANY_SETTINGS.store(true, Ordering::Relaxed);
}

pub(crate) fn any_settings_will_do() -> bool {
    ANY_SETTINGS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(eviction: &str, appends: bool, syncs: &str) -> Durability {
        Durability {
            server: String::new(),
            eviction: Some(eviction.to_owned()),
            appends: Some(appends),
            syncs: Some(syncs.to_owned()),
        }
    }

    #[test]
    fn every_setting_that_may_lose_a_purchase_is_named() {
        assert_eq!(set("noeviction", true, "always").flaw(), None);
        for (wrong, named) in [
            (set("allkeys-lru", true, "always"), "maxmemory-policy"),
            (set("volatile-ttl", true, "always"), "maxmemory-policy"),
            (set("noeviction", false, "always"), "appendonly"),
            (set("noeviction", true, "everysec"), "appendfsync"),
        ] {
            let flaw = wrong.flaw().unwrap();
            assert!(flaw.contains(named), "{flaw}");
        }
    }

    #[test]
    fn what_a_server_does_not_tell_is_no_flaw_and_is_named() {
        let silent = Durability { eviction: Some("noeviction".to_owned()), ..Durability::default() };
        assert_eq!((silent.flaw(), silent.unknown()), (None, vec!["appendonly", "appendfsync"]));
    }

    #[test]
    fn a_field_of_info_is_found_by_its_whole_name() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(field(info, "maxmemory_policy"), Some("noeviction"));
        assert_eq!(field(info, "maxmemory"), Some("0"));
        assert_eq!(field(info, "max"), None);
    }
}
