//! The member database, one file per aggregate. A function is one statement or one transaction, and errors
//! are plain [`sqlx::Error`]s.

pub(crate) mod attempts;
pub(crate) mod mails;
pub(crate) mod members;
pub(crate) mod password_resets;
pub(crate) mod revocations;
pub(crate) mod sessions;
pub(crate) mod sign_ups;
mod sweep;

pub(crate) use sweep::sweep_loop;

/// Durations reach SQL as seconds (`make_interval(secs => $n)`).
fn seconds(duration: time::Duration) -> f64 {
    duration.as_seconds_f64()
}
