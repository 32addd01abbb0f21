//! What the provider says about money that went back: mostly what we asked for, sometimes what somebody did
//! in its console. Its record of the charge says how much went back in total.

use axum::http::StatusCode;
use rocketmart_kit::problem::{Problem, Result};
use serde_json::Value;
use uuid::Uuid;

use super::{App, invalid, refuse, taken, unconfirmed};
use crate::domain::dispute::Kind;
use crate::provider::{MadeRefund, PaymentProvider as _};
use crate::store::disputes;
use crate::store::foreign_refunds::{self, TakenOver};

pub(super) async fn take(app: &App, data: Value) -> Result<StatusCode> {
    let told: MadeRefund = serde_json::from_value(data).map_err(|error| invalid(&error.to_string()))?;
    let payment = match Uuid::parse_str(&told.reference) {
        Ok(order) => disputes::payment_of(&app.pool, order).await?,
        Err(_) => None,
    };
    let Some(payment) = payment else { return Ok(taken("passed over")) };
    let claim = told.claim();
    if payment.provider_charge_id.as_deref() != Some(told.charge_id.as_str()) {
        let detail =
            format!("told: a refund of {}; payment: {:?}", told.charge_id, payment.provider_charge_id);
        return refuse(app, &claim.dispute(Kind::ProviderDiffers, Some(payment.id), detail)).await;
    }
    if foreign_refunds::is_known(&app.pool, &told.id).await? {
        return Ok(taken("settled before"));
    }
    let record = app.provider.find_charge(&told.charge_id).await.map_err(|error| unconfirmed(&error))?;
    let Some(charge) = record else {
        let detail = format!("told: a refund of {}", told.charge_id);
        return refuse(app, &claim.dispute(Kind::UnknownToProvider, Some(payment.id), detail)).await;
    };
    let mut tx = app.pool.begin().await?;
    let outcome =
        foreign_refunds::take_over(&mut tx, &charge.id, charge.refunded, Some(&told.id), None).await?;
    tx.commit().await?;
    match outcome {
        TakenOver::Amount(_) => Ok(taken("refund taken over")),
        TakenOver::Nothing | TakenOver::Unknown => Ok(taken("settled before")),
        TakenOver::NotYet => {
            let detail = "a refund of ours is on its way, which this may be; send it again";
            Err(Problem::unavailable("refund-in-progress", detail))
        }
    }
}
