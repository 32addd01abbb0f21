//! Finding a sale by its id or its name.
//!
//! ```text
//!   in memory? ──▶ yes: at no cost
//!       └──▶ no: it ended long ago, or was loaded a moment ago, or there is none: one look into PostgreSQL,
//!            counted, since anybody can invent ids
//! ```
//! Nobody can look at ordinary stock or buy it by the id of its sale. Buyers buy it from a cart, at a price
//! they agreed to.

use rocketmart_contracts::internal_api::SaleState;
use rocketmart_kit::client_address::ClientAddress;
use rocketmart_kit::problem::Result;
use rocketmart_stock::SaleId;
use uuid::Uuid;

use super::sale_list::Place;
use super::sales::SaleView;
use super::{App, problems};
use crate::domain::standing::may_be_standing;
use crate::store::sales::{self, Sale};

/// The longest name we look for, in bytes: the limit of a Kubernetes object name.
const MAX_NAME: usize = 253;

/// A sale as a purchase sees it.
pub(super) enum Seller {
    /// Redis decides.
    Redis(SaleId),
    /// Its books are signed off. PostgreSQL has what was bought, and nothing more is sold.
    Books(SaleId),
}

impl App {
    /// The sale that a purchase names. The caller has already counted the buyer.
    pub(super) async fn seller(&self, named: &str) -> Result<Seller> {
        let id = named.parse().ok();
        if id.is_some_and(may_be_standing) {
            return Err(problems::sale_unknown());
        }
        let id = id.map(SaleId);
        let listed = id.or_else(|| self.sales.named(named));
        if let Some((sale, signed_off)) =
            listed.and_then(|sale| Some((sale, self.sales.is_signed_off(sale)?)))
        {
            return Ok(if signed_off { Seller::Books(sale) } else { Seller::Redis(sale) });
        }
        match (self.look_up(named).await, id) {
            (Ok(Some(sale)), _) if sale.state == SaleState::ClosedOut => Ok(Seller::Books(SaleId(sale.id))),
            (Ok(Some(sale)), _) => Ok(Seller::Redis(SaleId(sale.id))),
            (Ok(None), _) => Err(problems::sale_unknown()),
            // Redis knows whether the sale exists: it keeps selling while PostgreSQL is away.
            (Err(_), Some(sale)) => Ok(Seller::Redis(sale)),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// The sale as shoppers see it.
    pub(super) async fn find_sale(&self, named: &str, address: ClientAddress) -> Result<Option<SaleView>> {
        let id = named.parse().ok();
        if id.is_some_and(may_be_standing) {
            return Ok(None);
        }
        let listed = id.map(SaleId).or_else(|| self.sales.named(named));
        if let Some(found) = listed.and_then(|sale| self.sales.get(sale)) {
            return Ok(Some(found.view));
        }
        self.look_ups.count_address(address)?;
        let Some(found) = self.look_up(named).await? else { return Ok(None) };
        if found.state != SaleState::ClosedOut {
            self.sales.read_anew().await;
            if let Some(found) = self.sales.get(SaleId(found.id)) {
                return Ok(Some(found.view));
            }
        }
        Ok(Some(SaleView::of(found, None)))
    }

    /// Up to `count` sales after `after`, latest opening first.
    pub(super) async fn sales_behind(
        &self,
        after: Option<Place>,
        count: u32,
        address: ClientAddress,
    ) -> Result<Vec<SaleView>> {
        let listed = usize::try_from(count).ok().and_then(|count| self.sales.page(after, count));
        if let Some(page) = listed {
            return Ok(page);
        }
        self.look_ups.count_address(address)?;
        let found = sales::page(&self.pool, after, count.into()).await?;
        let view = |sale: Sale| {
            let listed = self.sales.get(SaleId(sale.id));
            listed.map_or_else(|| SaleView::of(sale, None), |listed| listed.view)
        };
        Ok(found.into_iter().map(view).collect())
    }

    async fn look_up(&self, named: &str) -> sqlx::Result<Option<Sale>> {
        if named.len() > MAX_NAME || named.contains('\0') {
            return Ok(None);
        }
        match named.parse::<Uuid>() {
            Ok(id) => sales::find(&self.pool, id).await,
            Err(_) => sales::named(&self.pool, named).await,
        }
    }
}
