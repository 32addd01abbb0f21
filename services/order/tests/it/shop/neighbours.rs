//! The test plays the payment service and delivery: what they would tell the order service.

use rocketmart_contracts::event::{
    CancelRefused, Payload as _, PaymentFailed, PaymentRefunded, PaymentSucceeded, ReturnUpdated,
    ShipmentUpdated,
};
use rocketmart_contracts::topic;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Shop, now_ms};

impl Shop {
    pub async fn payment_succeeds(&self, order: &Value, payment: Uuid) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "payment_id": payment, "order_id": id, "amount": order["amount"],
            "currency": order["currency"], "succeeded_at_ms": 1_700_000_000_000_i64 });
        self.backing.send(topic::PAYMENTS, PaymentSucceeded::TYPE, id, &data).await;
    }

    /// No charge will happen any more.
    pub async fn payment_fails(&self, order: &Value, payment: Uuid) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "payment_id": payment, "order_id": id, "reason": "declined", "closed": true });
        self.backing.send(topic::PAYMENTS, PaymentFailed::TYPE, id, &data).await;
    }

    /// The card is declined; another one may work.
    pub async fn card_is_declined(&self, order: &Value, payment: Uuid, attempt: i32) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data =
            json!({ "payment_id": payment, "order_id": id, "reason": "card_declined", "attempt": attempt });
        self.backing.send(topic::PAYMENTS, PaymentFailed::TYPE, id, &data).await;
    }

    pub async fn payment_refunded(&self, order: &Value, payment: Uuid) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "payment_id": payment, "refund_id": Uuid::now_v7(), "order_id": id,
            "amount": order["amount"], "currency": order["currency"], "reason": "order_released" });
        self.backing.send(topic::PAYMENTS, PaymentRefunded::TYPE, id, &data).await;
    }

    pub async fn shipment_is(&self, order: &Value, state: &str) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "shipment_id": Uuid::nil(), "order_id": id, "state": state,
            "at_ms": now_ms(), "tracking_number": "RM1" });
        self.backing.send(topic::DELIVERIES, ShipmentUpdated::TYPE, id, &data).await;
    }

    /// Delivery answers a cancellation: the parcel is already under way.
    pub async fn cancel_is_refused(&self, order: &Value) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "shipment_id": Uuid::nil(), "order_id": id, "state": "shipped" });
        self.backing.send(topic::DELIVERIES, CancelRefused::TYPE, id, &data).await;
    }

    pub async fn return_is(&self, order: &str, returned: &Value, state: &str) {
        let id: Uuid = order.parse().unwrap();
        let data = json!({ "return_id": returned["id"], "order_id": id, "state": state, "at_ms": now_ms(),
            "tracking_number": "BACK1" });
        self.backing.send(topic::DELIVERIES, ReturnUpdated::TYPE, id, &data).await;
    }

    /// The payment service refunds what it was asked to.
    pub async fn gives_back(&self, asked: &Value) {
        let id: Uuid = asked["order_id"].as_str().unwrap().parse().unwrap();
        let mut data = asked.clone();
        data["refund_id"] = json!(Uuid::now_v7());
        self.backing.send(topic::PAYMENTS, PaymentRefunded::TYPE, id, &data).await;
    }
}
