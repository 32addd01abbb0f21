//! Translates an event from Kafka into the domain's terms.

use anyhow::{Context, bail};
use rocketmart_contracts::event::{
    CancelRefused, Payload as _, PaymentFailed, PaymentRefundFailed, PaymentRefunded, PaymentSubmitted,
    PaymentSucceeded, ProductChanged, Released, Reserved, ReturnUpdated, ShipmentUpdated,
};
use rocketmart_kit::event::Event;
use uuid::Uuid;

use crate::domain::batch::Fact;
use crate::domain::order::Verdict;
use crate::events::ProductSnapshot;

/// An event, understood.
#[derive(Clone, Debug)]
pub(super) enum News {
    Fact(Fact),
    /// Redis must be asked before this can be applied.
    PaymentSucceeded(PaymentSucceeded),
    PaymentFailed(PaymentFailed),
    ProductChanged(ProductSnapshot),
    ProductDeleted(Uuid),
    /// Not for us: an event that this version does not know.
    Other,
}

impl News {
    pub(super) fn order_id(&self) -> Option<Uuid> {
        match self {
            Self::Fact(fact) => Some(fact.order_id()),
            Self::PaymentSucceeded(event) => Some(event.order_id),
            Self::PaymentFailed(event) => Some(event.order_id),
            Self::ProductChanged(_) | Self::ProductDeleted(_) | Self::Other => None,
        }
    }

    /// The sale whose stream reports this; `None` for what comes from elsewhere.
    pub(super) fn sale_id(&self) -> Option<Uuid> {
        match self {
            Self::Fact(Fact::Reserved(event)) => Some(event.sale_id),
            Self::Fact(Fact::PaymentSubmitted(event)) => Some(event.sale_id),
            Self::Fact(Fact::Released(event)) => Some(event.sale_id),
            _ => None,
        }
    }

    /// Whether this reports what happened to an order after it was paid for.
    pub(super) fn follows_a_payment(&self) -> bool {
        match self {
            Self::Fact(fact) => !fact.comes_from_the_stream(),
            _ => false,
        }
    }

    /// The fact, with Redis' verdict where it needs one.
    pub(super) fn fact(self, verdict: Option<Verdict>) -> Option<Fact> {
        match (self, verdict) {
            (Self::Fact(fact), _) => Some(fact),
            (Self::PaymentSucceeded(event), Some(verdict)) => Some(Fact::PaymentSucceeded(event, verdict)),
            (Self::PaymentFailed(event), Some(verdict)) => Some(Fact::PaymentFailed(event, verdict)),
            _ => None,
        }
    }
}

/// Understands an event. An event that cannot be understood now never will be.
pub(super) fn read(event: &Event) -> anyhow::Result<News> {
    if event.is_tombstone() {
        return Ok(News::ProductDeleted(
            event.key.parse().context("the key of a tombstone is not a product id")?,
        ));
    }
    Ok(match event.event_type.as_str() {
        Reserved::TYPE => {
            let reserved: Reserved = event.parse()?;
            if reserved.lines.is_empty() {
                bail!("a reservation without lines");
            }
            News::Fact(Fact::Reserved(reserved))
        }
        PaymentSubmitted::TYPE => News::Fact(Fact::PaymentSubmitted(event.parse::<PaymentSubmitted>()?)),
        Released::TYPE => News::Fact(Fact::Released(event.parse::<Released>()?)),
        PaymentSucceeded::TYPE => News::PaymentSucceeded(event.parse()?),
        PaymentFailed::TYPE => News::PaymentFailed(event.parse()?),
        PaymentRefunded::TYPE => News::Fact(Fact::PaymentRefunded(event.parse::<PaymentRefunded>()?)),
        PaymentRefundFailed::TYPE => {
            News::Fact(Fact::PaymentRefundFailed(event.parse::<PaymentRefundFailed>()?))
        }
        CancelRefused::TYPE => News::Fact(Fact::CancelRefused(event.parse::<CancelRefused>()?)),
        ReturnUpdated::TYPE => News::Fact(Fact::ReturnUpdated(event.parse::<ReturnUpdated>()?)),
        ShipmentUpdated::TYPE => News::Fact(Fact::ShipmentUpdated(event.parse::<ShipmentUpdated>()?)),
        ProductChanged::TYPE => News::ProductChanged(event.parse()?),
        _ => News::Other,
    })
}
