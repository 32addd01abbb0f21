//! What the simulator does wrong on purpose; `PUT /control` sets it at run time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The current misbehaviour. By default the provider is fast and does everything right.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// The delay before every authorization, capture, charge and refund is decided.
    pub delay_ms: u64,
    /// Share of authorizations and charges that are declined at random, 0 to 1.
    pub decline_rate: f64,
    /// Share of new authorizations, captures and charges that are made but never answered, 0 to 1. A repeat
    /// is answered.
    pub timeout_after_charging_rate: f64,
    /// Sends every call-back twice.
    pub duplicate_callbacks: bool,
    /// Call-backs are late by a random time up to this, so they also come out of order.
    pub callback_jitter_ms: u64,
    /// Answers every request of `/v1` with 503.
    pub outage: bool,
    /// Where to send call-backs; none are sent without it.
    pub callback_url: Option<String>,
}

/// The body of `PUT /control`. Fields that are left out keep their values.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    delay_ms: Option<u64>,
    decline_rate: Option<f64>,
    timeout_after_charging_rate: Option<f64>,
    duplicate_callbacks: Option<bool>,
    callback_jitter_ms: Option<u64>,
    outage: Option<bool>,
    /// An empty string ends call-backs.
    callback_url: Option<String>,
}

impl Settings {
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// Applies what `change` names, or says which field is out of range.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), &'static str> {
        let rate_is_sane = |rate: Option<f64>| rate.is_none_or(|r| (0.0..=1.0).contains(&r));
        if !rate_is_sane(change.decline_rate) {
            return Err("decline_rate");
        }
        if !rate_is_sane(change.timeout_after_charging_rate) {
            return Err("timeout_after_charging_rate");
        }
        take(&mut self.delay_ms, change.delay_ms);
        take(&mut self.decline_rate, change.decline_rate);
        take(&mut self.timeout_after_charging_rate, change.timeout_after_charging_rate);
        take(&mut self.duplicate_callbacks, change.duplicate_callbacks);
        take(&mut self.callback_jitter_ms, change.callback_jitter_ms);
        take(&mut self.outage, change.outage);
        if let Some(url) = change.callback_url {
            self.callback_url = (!url.is_empty()).then_some(url);
        }
        Ok(())
    }
}

fn take<T>(current: &mut T, new: Option<T>) {
    if let Some(value) = new {
        *current = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> Change {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn fields_left_out_keep_their_value() {
        let mut settings = Settings::default();
        settings.apply(change(r#"{"delay_ms": 5, "callback_url": "http://shop"}"#)).unwrap();
        settings.apply(change(r#"{"outage": true}"#)).unwrap();
        assert_eq!(
            settings,
            Settings {
                delay_ms: 5,
                outage: true,
                callback_url: Some("http://shop".into()),
                ..Settings::default()
            }
        );
    }

    #[test]
    fn a_rate_outside_zero_to_one_is_named_and_nothing_changes() {
        let mut settings = Settings::default();
        assert_eq!(settings.apply(change(r#"{"delay_ms": 5, "decline_rate": 1.5}"#)), Err("decline_rate"));
        assert_eq!(settings, Settings::default());
    }
}
