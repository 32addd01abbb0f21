//! The controllers: each watches one kind and reconciles it.

pub mod flash_sale;
mod frame;
pub mod shop;
mod unreadable;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{Context, autoscaler};

/// Runs all controllers and the autoscaler until `stop`, then until the running reconciles have finished.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    tokio::join!(
        shop::run(context.clone(), stop.clone()),
        flash_sale::run(context.clone(), stop.clone()),
        autoscaler::run(context.clone(), stop.clone()),
    );
}
