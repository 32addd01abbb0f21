//! Suspending, resuming, closing and cancelling a sale.
//!
//! None of these touches a reservation. Buyers may still pay for what they hold until its deadline, and
//! what they do not pay for comes back by itself.

use axum::extract::State;
use rocketmart_contracts::internal_api::{Fenced, SaleStatus};
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use uuid::Uuid;

use super::{InternalApi, database, sale_unknown, stale_fence};
use crate::domain::sale::Action;
use crate::store::sales;

type Answer = Result<Json<SaleStatus>>;

pub(super) async fn suspend(api: State<InternalApi>, id: Path<Uuid>, body: Json<Fenced>) -> Answer {
    api.act(id.0, body.0, Action::Suspend).await
}

pub(super) async fn resume(api: State<InternalApi>, id: Path<Uuid>, body: Json<Fenced>) -> Answer {
    api.act(id.0, body.0, Action::Resume).await
}

pub(super) async fn close(api: State<InternalApi>, id: Path<Uuid>, body: Json<Fenced>) -> Answer {
    api.act(id.0, body.0, Action::Close).await
}

pub(super) async fn cancel(api: State<InternalApi>, id: Path<Uuid>, body: Json<Fenced>) -> Answer {
    api.act(id.0, body.0, Action::Cancel).await
}

impl InternalApi {
    async fn act(&self, id: Uuid, Fenced { fence }: Fenced, action: Action) -> Answer {
        let mut tx = self.pool.begin().await.map_err(database)?;
        let mut sale = sales::lock(&mut tx, id).await.map_err(database)?.ok_or_else(sale_unknown)?;
        if fence < sale.fence {
            return Err(stale_fence(sale.fence));
        }
        let state = action
            .on(sale.state, sale.loaded)
            .map_err(|over| Problem::conflict("sale-closed", over.to_string()))?;
        sales::set_state(&mut tx, id, fence, state).await.map_err(database)?;
        tx.commit().await.map_err(database)?;
        (sale.state, sale.fence) = (state, fence);
        self.align(&sale).await?;
        self.status(id).await.map(Json)
    }
}
