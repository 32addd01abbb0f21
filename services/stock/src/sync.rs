//! What the lanes share and wait with, apart from channels. A file of its own, so that `lane.rs` can also be
//! compiled with shuttle's in their place, under which a test picks who goes on at each step: see `schedules/`.

pub(crate) use std::sync::atomic::AtomicUsize;
pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use tokio::spawn;
pub(crate) use tokio::time::error::Elapsed;
pub(crate) use tokio::time::{Instant, timeout};
