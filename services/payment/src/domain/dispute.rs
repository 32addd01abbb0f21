//! What the provider says about a payment and what cannot be true of it.
//!
//! We believe that a payment was charged only if the amount, the currency and the order are its own. Anything
//! else is a dispute: it settles nothing, is recorded beside the differences of the reconciliation, and a
//! person has to look at it.

use uuid::Uuid;

/// A claim that we did not believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    pub kind: Kind,
    /// The order, in the provider's words.
    pub reference: String,
    /// The charge or the authorization in question.
    pub provider_id: String,
    pub payment_id: Option<Uuid>,
    /// For whoever looks into it.
    pub detail: String,
}

/// Kinds that the reconciliation can find too have the same names there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The amount or currency is not the payment's.
    AmountDiffers,
    /// Money for an order that has no payment.
    ChargeWithoutPayment,
    /// Money for a payment that has failed or was voided.
    ChargeOfUnpaidPayment,
    /// Money for a payment that another charge has already paid.
    OrderChargedTwice,
    /// The provider itself does not know what was claimed in its name.
    UnknownToProvider,
    /// The provider itself says something else.
    ProviderDiffers,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AmountDiffers => "amount_differs",
            Self::ChargeWithoutPayment => "charge_without_payment",
            Self::ChargeOfUnpaidPayment => "charge_of_unpaid_payment",
            Self::OrderChargedTwice => "order_charged_twice",
            Self::UnknownToProvider => "unknown_to_provider",
            Self::ProviderDiffers => "provider_differs",
        }
    }
}

/// Money as the provider names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub provider_id: &'a str,
    pub reference: &'a str,
    /// Minor units.
    pub amount: i64,
    pub currency: &'a str,
}

impl Claim<'_> {
    /// Why this money cannot be for the payment `payment_id` of `amount`; `None` if it can.
    pub fn against(&self, payment_id: Uuid, order: Uuid, amount: i64, currency: &str) -> Option<Dispute> {
        let kind = if self.reference != order.to_string() {
            Kind::ProviderDiffers
        } else if self.amount != amount || self.currency != currency {
            Kind::AmountDiffers
        } else {
            return None;
        };
        let Self { amount: told, currency: in_currency, reference, .. } = self;
        let detail =
            format!("told: {told} {in_currency} for {reference}; payment: {amount} {currency} for {order}");
        Some(self.dispute(kind, Some(payment_id), detail))
    }

    pub fn dispute(&self, kind: Kind, payment_id: Option<Uuid>, detail: String) -> Dispute {
        Dispute {
            kind,
            reference: self.reference.to_owned(),
            provider_id: self.provider_id.to_owned(),
            payment_id,
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_money_is_that_of_a_payment_only_with_its_order_amount_and_currency() {
        let order = Uuid::from_u128(1);
        let against = |reference: Uuid, amount, currency| {
            let reference = reference.to_string();
            let claim = Claim { provider_id: "ch_1", reference: &reference, amount, currency };
            claim.against(Uuid::nil(), order, 50_000, "KRW").map(|dispute| dispute.kind)
        };
        assert_eq!(against(order, 50_000, "KRW"), None);
        assert_eq!(against(order, 1, "KRW"), Some(Kind::AmountDiffers));
        assert_eq!(against(order, 50_000, "USD"), Some(Kind::AmountDiffers));
        assert_eq!(against(Uuid::from_u128(2), 50_000, "KRW"), Some(Kind::ProviderDiffers));
    }
}
