//! Returning what was delivered, whole or line by line, within some days.
//!
//! ```text
//!   delivered ──▶ return_requested ──▶ returned ──▶ refunded      (nothing is left with the buyer)
//!       ▲               ▲    a parcel     │  its money
//!       │               └──── more ───────┤
//!       └──────── the buyer keeps the rest ┘
//! ```
//!
//! An order may have several returns, even at the same time; its state shows the one that has furthest to
//! go. Units come back to the stock once, when the parcel is received. The money for just these units
//! follows.

use rocketmart_contracts::event::{self, ReturnRequested, ReturnUpdated};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::batch::{Contradiction, Effects};
use super::ledger::StockMove;
use super::order::{Order, Units};
use super::order_event::OrderEvent;
use super::state::{ImpossibleTransition, OrderState};

/// How far a return has come. The wire and the database use the `snake_case` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReturnState {
    Requested,
    /// The carrier knows of it.
    Announced,
    InTransit,
    /// The units are back; the money is on its way.
    Received,
    /// The money should have gone back and did not: somebody has to look at it.
    RefundFailed,
    Refunded,
}

/// Something that a buyer sends back. The amount is for just these units, in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    pub id: Uuid,
    pub state: ReturnState,
    pub lines: Vec<Units>,
    pub amount: i64,
    pub reason: String,
    pub requested_at_ms: i64,
    pub updated_at_ms: i64,
    pub tracking_number: Option<String>,
}

/// News of a return that this order does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the order has no return {0}")]
pub struct UnknownReturn(pub Uuid);

/// Why an order cannot be returned, or not in this way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReturnable {
    #[error("the order is {0}")]
    State(OrderState),
    #[error("the time to return it is over")]
    TooLate { until_ms: i64 },
    #[error("everything of it is in a return already")]
    NothingLeft,
    /// A line of the wish breaks a rule: its index, the field, the rule.
    #[error("lines[{index}].{field}: {detail}")]
    Line { index: usize, field: &'static str, rule: &'static str, detail: String },
}

impl Order {
    /// Until when this order may be returned, if it was delivered.
    pub fn returnable_until_ms(&self, window_ms: i64) -> Option<i64> {
        // For an order delivered under an older version, we know only the last news of the parcel.
        let delivered = self.delivered_at_ms.or(self.shipment.as_ref().map(|parcel| parcel.updated_at_ms))?;
        Some(delivered + window_ms)
    }

    /// Takes back `wanted`, or all that is left, while there is still time.
    pub fn request_return(
        &mut self,
        id: Uuid,
        wanted: Option<Vec<Units>>,
        reason: String,
        now_ms: i64,
        window_ms: i64,
        effects: &mut Effects,
    ) -> Result<Return, NotReturnable> {
        let until_ms = match (self.state, self.returnable_until_ms(window_ms)) {
            (OrderState::Delivered | OrderState::ReturnRequested | OrderState::Returned, Some(until)) => {
                until
            }
            (state, _) => return Err(NotReturnable::State(state)),
        };
        if now_ms >= until_ms {
            return Err(NotReturnable::TooLate { until_ms });
        }
        let lines = match wanted {
            Some(wanted) => self.check_wanted(wanted)?,
            None => self.left(),
        };
        if lines.is_empty() {
            return Err(NotReturnable::NothingLeft);
        }
        let amount = lines.iter().map(|line| line.quantity * self.unit_price(&line.sku)).sum();
        let asked = Return {
            id,
            state: ReturnState::Requested,
            lines,
            amount,
            reason,
            requested_at_ms: now_ms,
            updated_at_ms: now_ms,
            tracking_number: None,
        };
        if self.state != OrderState::ReturnRequested {
            self.go(OrderState::ReturnRequested, effects)
                .map_err(|impossible| NotReturnable::State(impossible.from))?;
        }
        effects.emit(OrderEvent::ReturnRequested(ReturnRequested {
            return_id: asked.id,
            order_id: self.id,
            buyer_id: self.buyer_id,
            lines: asked.lines.iter().map(event::Units::from).collect(),
            reason: asked.reason.clone(),
        }));
        effects.note_return(self.id, &asked);
        self.returns.push(asked.clone());
        Ok(asked)
    }

    /// The parcel only moves forward: late or repeated news changes nothing.
    pub fn return_updated(
        &mut self,
        event: &ReturnUpdated,
        effects: &mut Effects,
    ) -> Result<(), Contradiction> {
        let found = self.returns.iter_mut().find(|returned| returned.id == event.return_id);
        let returned = found.ok_or(UnknownReturn(event.return_id))?;
        let state = match event.state {
            event::ReturnState::Announced => ReturnState::Announced,
            event::ReturnState::InTransit => ReturnState::InTransit,
            event::ReturnState::Received => ReturnState::Received,
        };
        if state <= returned.state {
            return Ok(());
        }
        returned.state = state;
        returned.updated_at_ms = event.at_ms;
        if event.tracking_number.is_some() {
            returned.tracking_number.clone_from(&event.tracking_number);
        }
        effects.note_return(self.id, returned);
        if state == ReturnState::Received {
            let (id, amount) = (returned.id, returned.amount);
            for line in &returned.lines {
                effects.move_stock(&line.sku, StockMove::take_back(line.quantity));
            }
            if !self.awaits_a_parcel() {
                self.go(OrderState::Returned, effects)?;
            }
            self.give_money_back(id, amount, "order_returned", effects)?;
        }
        Ok(())
    }

    /// The time to return this order is over.
    pub fn complete(&mut self, effects: &mut Effects) -> Result<(), ImpossibleTransition> {
        self.go(OrderState::Completed, effects)
    }

    /// Where a returned order goes once its money is back.
    pub(super) fn go_on_after_returns(&mut self, effects: &mut Effects) -> Result<(), ImpossibleTransition> {
        let settled = self.returns.iter().all(|returned| returned.state == ReturnState::Refunded);
        if self.state != OrderState::Returned || !settled {
            return Ok(());
        }
        let on = if self.left().is_empty() { OrderState::Refunded } else { OrderState::Delivered };
        self.go(on, effects)
    }

    fn awaits_a_parcel(&self) -> bool {
        self.returns.iter().any(|returned| returned.state < ReturnState::Received)
    }

    /// The units that are in no return.
    fn left(&self) -> Vec<Units> {
        let left = self
            .lines
            .iter()
            .map(|line| Units { sku: line.sku.clone(), quantity: line.quantity - self.returned(&line.sku) });
        left.filter(|line| line.quantity > 0).collect()
    }

    fn returned(&self, sku: &str) -> i64 {
        let lines = self.returns.iter().flat_map(|returned| &returned.lines);
        lines.filter(|line| line.sku == sku).map(|line| line.quantity).sum()
    }

    fn unit_price(&self, sku: &str) -> i64 {
        self.lines.iter().find(|line| line.sku == sku).map_or(0, |line| line.unit_price)
    }

    fn check_wanted(&self, wanted: Vec<Units>) -> Result<Vec<Units>, NotReturnable> {
        let left = self.left();
        for (index, line) in wanted.iter().enumerate() {
            let broken = |field, rule, detail: String| NotReturnable::Line { index, field, rule, detail };
            if wanted[..index].iter().any(|earlier| earlier.sku == line.sku) {
                return Err(broken("sku", "unique", "is listed twice".into()));
            }
            if !self.lines.iter().any(|bought| bought.sku == line.sku) {
                return Err(broken("sku", "in-order", format!("{} is not part of this order", line.sku)));
            }
            if line.quantity < 1 {
                return Err(broken("quantity", "at-least-one", "must be at least 1".into()));
            }
            let left = left.iter().find(|left| left.sku == line.sku).map_or(0, |left| left.quantity);
            if line.quantity > left {
                let detail = format!("{left} can be returned, {} are wanted", line.quantity);
                return Err(broken("quantity", "within-bought", detail));
            }
        }
        Ok(wanted)
    }
}

impl ReturnState {
    const ALL: [Self; 6] = [
        Self::Requested,
        Self::Announced,
        Self::InTransit,
        Self::Received,
        Self::RefundFailed,
        Self::Refunded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Announced => "announced",
            Self::InTransit => "in_transit",
            Self::Received => "received",
            Self::RefundFailed => "refund_failed",
            Self::Refunded => "refunded",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests;
