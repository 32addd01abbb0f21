//! What the lanes share and wait with, apart from channels. It is a file of its own so that `lane.rs` also
//! compiles with shuttle's versions in their place, where a test picks who goes on at each step: see
//! `schedules/`.

pub(crate) use std::sync::atomic::AtomicUsize;
pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use tokio::spawn;
pub(crate) use tokio::time::error::Elapsed;
pub(crate) use tokio::time::{Instant, timeout};
