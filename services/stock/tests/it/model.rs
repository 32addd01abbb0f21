//! The engine as you would write it on a blackboard: a list of reservations, and every figure computed from
//! it each time. It is slow and obvious, and the judge of the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rocketmart_stock::{
    BuyerId, ConfirmOutcome, CurrentPrice, DeclineOutcome, Expired, ItemCounters, ItemSpec, LoadOutcome,
    OrderId, PaymentDetails, PaymentOutcome, PricedLine, ReleaseOutcome, ReleaseReason, Reservation,
    ReservationState, Reserve, ReserveOutcome, SaleSpec, SaleState, SpecConflict,
};

use crate::support::PAST_DEADLINE;

pub(crate) struct Model {
    pub(crate) spec: SaleSpec,
    pub(crate) state: SaleState,
    pub(crate) reservations: BTreeMap<OrderId, Reservation>,
    /// Buyer and key: order and request hash.
    keys: BTreeMap<(BuyerId, String), (OrderId, String)>,
    /// Orders with a payment under way past their deadline. They are looked at again when the grace is over.
    in_grace: BTreeSet<OrderId>,
    /// Event types and orders, in the order in which they must be appended.
    pub(crate) events: Vec<(&'static str, OrderId)>,
}

impl Model {
    pub(crate) fn new(spec: SaleSpec) -> Self {
        Self {
            spec,
            state: SaleState::Ready,
            reservations: BTreeMap::new(),
            keys: BTreeMap::new(),
            in_grace: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn counters(&self) -> Vec<ItemCounters> {
        let mut items: Vec<_> = self.spec.items.iter().map(|item| self.counters_of(item)).collect();
        items.sort_by(|a, b| a.sku.cmp(&b.sku));
        items
    }

    fn counters_of(&self, item: &ItemSpec) -> ItemCounters {
        let units_where = |wanted: fn(ReservationState) -> bool| -> u32 {
            let those = self.reservations.values().filter(|reservation| wanted(reservation.state));
            those.map(|reservation| units_of(reservation, &item.sku)).sum()
        };
        let reserved = units_where(is_outstanding);
        let sold = units_where(|state| state == ReservationState::Confirmed);
        ItemCounters {
            sku: item.sku.clone(),
            preloaded: item.units,
            remaining: item.units - reserved - sold,
            reserved,
            sold,
            price: item.price,
            limit: item.per_buyer_limit,
        }
    }

    pub(crate) fn outstanding(&self) -> u64 {
        self.reservations.values().filter(|reservation| is_outstanding(reservation.state)).count() as u64
    }

    /// Standing stock: changes units and price from now on, unless buyers have more than that.
    pub(crate) fn follow_catalog(&mut self, sku: &str, units: u32, price: i64) -> LoadOutcome {
        let Some(at) = self.spec.items.iter().position(|item| item.sku == sku) else {
            return LoadOutcome::AlreadyLoaded;
        };
        let wanted = ItemSpec { units, price, ..self.spec.items[at].clone() };
        let counted = self.counters_of(&self.spec.items[at]);
        if units < counted.reserved + counted.sold {
            let field = format!("items[{sku}].units");
            let rule = "must cover the units reserved and sold".to_owned();
            return LoadOutcome::ConflictingSpec(vec![SpecConflict { field, rule }]);
        }
        if wanted == self.spec.items[at] {
            return LoadOutcome::AlreadyLoaded;
        }
        self.spec.items[at] = wanted;
        LoadOutcome::Loaded
    }

    fn held_by(&self, buyer: BuyerId, sku: &str) -> u32 {
        let theirs = self.reservations.values().filter(|reservation| reservation.buyer == buyer);
        theirs
            .filter(|reservation| !matches!(reservation.state, ReservationState::Released(_)))
            .map(|reservation| units_of(reservation, sku))
            .sum()
    }

    /// `now_ms` is the time that Redis gave.
    pub(crate) fn reserve(&mut self, now_ms: i64, wish: &Reserve) -> ReserveOutcome {
        let invalid =
            |field: &str, rule: &str| ReserveOutcome::Invalid { field: field.into(), rule: rule.into() };
        if wish.lines.iter().any(|line| line.quantity == 0) {
            return invalid("lines.quantity", "must be at least 1");
        }
        let key = (wish.buyer, wish.key.clone());
        if let Some((order, hash)) = self.keys.get(&key) {
            if *hash != wish.request_hash {
                return ReserveOutcome::KeyReused;
            }
            return ReserveOutcome::Duplicate(self.reservations[order].clone());
        }
        match self.state {
            SaleState::Ready => {}
            SaleState::Suspended => return ReserveOutcome::Suspended,
            SaleState::Closed => return ReserveOutcome::Closed,
        }
        if self.reservations.contains_key(&wish.order) {
            return invalid("order", "must not be in use");
        }
        let (mut lines, mut changed) = (Vec::new(), Vec::new());
        for (at, line) in wish.lines.iter().enumerate() {
            let sku = line.sku.clone();
            if wish.lines[..at].iter().any(|earlier| earlier.sku == sku) {
                return invalid("lines.sku", "must not be listed twice");
            }
            let Some(item) = self.spec.items.iter().find(|item| item.sku == sku) else {
                return ReserveOutcome::UnknownSku { sku };
            };
            let held = self.held_by(wish.buyer, &sku);
            if let Some(limit) = item.per_buyer_limit
                && held + line.quantity > limit
            {
                return ReserveOutcome::LimitExceeded { sku, limit, held };
            }
            let remaining = self.counters_of(item).remaining;
            if remaining < line.quantity {
                return ReserveOutcome::SoldOut { sku, remaining };
            }
            if line.agreed_price.is_some_and(|agreed| agreed != item.price) {
                changed.push(CurrentPrice { sku: sku.clone(), unit_price: item.price });
            }
            lines.push(PricedLine { sku, quantity: line.quantity, unit_price: item.price });
        }
        if !changed.is_empty() {
            return ReserveOutcome::PriceChanged { lines: changed };
        }
        let reservation = Reservation {
            order: wish.order,
            sale: wish.sale,
            buyer: wish.buyer,
            amount: lines.iter().map(|line| i64::from(line.quantity) * line.unit_price).sum(),
            lines,
            currency: self.spec.currency.clone(),
            state: ReservationState::Reserved,
            reserved_at_ms: now_ms,
            pay_by_ms: now_ms + i64::from(self.spec.payment_seconds) * 1_000,
            payment_prepared: false,
            payment_method_id: None,
            delivery_address_id: None,
            declined_payments: 0,
        };
        self.keys.insert(key, (wish.order, wish.request_hash.clone()));
        self.reservations.insert(wish.order, reservation.clone());
        self.events.push(("rocketmart.reservation.reserved.v1", wish.order));
        ReserveOutcome::Reserved(reservation)
    }

    pub(crate) fn prepare(
        &mut self,
        order: OrderId,
        buyer: BuyerId,
        details: PaymentDetails,
    ) -> PaymentOutcome {
        match self.payable(order, buyer) {
            Err(outcome) => *outcome,
            Ok(reservation) => {
                set_details(reservation, details);
                reservation.payment_prepared = true;
                PaymentOutcome::Prepared(reservation.clone())
            }
        }
    }

    pub(crate) fn submit(
        &mut self,
        order: OrderId,
        buyer: BuyerId,
        details: Option<PaymentDetails>,
    ) -> PaymentOutcome {
        let reservation = match self.payable(order, buyer) {
            Err(outcome) => return *outcome,
            Ok(reservation) => reservation,
        };
        match details {
            Some(details) => set_details(reservation, details),
            None if !reservation.payment_prepared => return PaymentOutcome::NotPrepared,
            None => {}
        }
        reservation.state = ReservationState::PaymentSubmitted;
        reservation.payment_prepared = false;
        let submitted = reservation.clone();
        self.events.push(("rocketmart.reservation.payment_submitted.v1", order));
        PaymentOutcome::Submitted(submitted)
    }

    fn payable(&mut self, order: OrderId, buyer: BuyerId) -> Result<&mut Reservation, Box<PaymentOutcome>> {
        let reservation = self
            .reservations
            .get_mut(&order)
            .filter(|reservation| reservation.buyer == buyer)
            .ok_or(Box::new(PaymentOutcome::Unknown))?;
        match reservation.state {
            ReservationState::Released(reason) => Err(Box::new(PaymentOutcome::Released(reason))),
            ReservationState::Reserved if is_past(reservation) => {
                Err(Box::new(PaymentOutcome::Released(ReleaseReason::Expired)))
            }
            ReservationState::Reserved => Ok(reservation),
            ReservationState::PaymentSubmitted | ReservationState::Confirmed => {
                Err(Box::new(PaymentOutcome::AlreadySubmitted(reservation.clone())))
            }
        }
    }

    pub(crate) fn confirm(&mut self, order: OrderId) -> ConfirmOutcome {
        let Some(reservation) = self.reservations.get_mut(&order) else { return ConfirmOutcome::Unknown };
        match reservation.state {
            ReservationState::Confirmed => ConfirmOutcome::AlreadyConfirmed,
            ReservationState::Released(reason) => ConfirmOutcome::Released(reason),
            ReservationState::Reserved | ReservationState::PaymentSubmitted => {
                reservation.state = ReservationState::Confirmed;
                reservation.payment_prepared = false;
                ConfirmOutcome::Confirmed
            }
        }
    }

    pub(crate) fn decline(&mut self, order: OrderId, number: u32) -> DeclineOutcome {
        let Some(reservation) = self.reservations.get_mut(&order) else { return DeclineOutcome::Unknown };
        match reservation.state {
            ReservationState::Confirmed => return DeclineOutcome::AlreadyConfirmed,
            ReservationState::Released(reason) => return DeclineOutcome::AlreadyReleased(reason),
            _ if number <= reservation.declined_payments => return DeclineOutcome::Held,
            ReservationState::Reserved => reservation.declined_payments = number,
            ReservationState::PaymentSubmitted => {
                reservation.declined_payments = number;
                if is_past(reservation) {
                    self.give_back(order, ReleaseReason::PaymentFailed);
                    return DeclineOutcome::Released;
                }
                reservation.state = ReservationState::Reserved;
                set_details(reservation, PaymentDetails::default());
            }
        }
        DeclineOutcome::Held
    }

    pub(crate) fn release(
        &mut self,
        order: OrderId,
        buyer: Option<BuyerId>,
        reason: ReleaseReason,
    ) -> ReleaseOutcome {
        let Some(reservation) = self.reservations.get(&order) else { return ReleaseOutcome::Unknown };
        if buyer.is_some_and(|buyer| buyer != reservation.buyer) {
            return ReleaseOutcome::Unknown;
        }
        match reservation.state {
            ReservationState::Confirmed => return ReleaseOutcome::AlreadyConfirmed,
            ReservationState::Released(reason) => return ReleaseOutcome::AlreadyReleased(reason),
            ReservationState::Reserved if reason == ReleaseReason::Expired && !is_past(reservation) => {
                return ReleaseOutcome::NotDue;
            }
            ReservationState::PaymentSubmitted if reason == ReleaseReason::Expired => {
                return ReleaseOutcome::NotDue;
            }
            ReservationState::Reserved | ReservationState::PaymentSubmitted => {}
        }
        self.give_back(order, reason);
        ReleaseOutcome::Released
    }

    fn give_back(&mut self, order: OrderId, reason: ReleaseReason) {
        if let Some(reservation) = self.reservations.get_mut(&order) {
            reservation.state = ReservationState::Released(reason);
            reservation.payment_prepared = false;
        }
        if reason != ReleaseReason::PaymentFailed {
            self.events.push(("rocketmart.reservation.released.v1", order));
        }
    }

    /// A grace is either over for all past deadlines, or for none.
    pub(crate) fn expire(&mut self, limit: usize, grace: Duration) -> Expired {
        // All past deadlines are the same moment here, so the order ids decide.
        let due: Vec<(OrderId, ReservationState)> = self
            .reservations
            .values()
            .filter(|reservation| is_outstanding(reservation.state) && is_past(reservation))
            .map(|reservation| (reservation.order, reservation.state))
            .filter(|(order, _)| !self.in_grace.contains(order))
            .take(limit)
            .collect();
        let mut released = 0;
        for &(order, state) in &due {
            if state == ReservationState::PaymentSubmitted && !grace.is_zero() {
                self.in_grace.insert(order);
            } else {
                self.give_back(order, ReleaseReason::Expired);
                released += 1;
            }
        }
        Expired { released, looked_at: due.len() }
    }

    pub(crate) fn let_deadline_pass(&mut self, order: OrderId) {
        if let Some(reservation) = self.reservations.get_mut(&order) {
            reservation.pay_by_ms = PAST_DEADLINE;
            self.in_grace.remove(&order);
        }
    }
}

fn units_of(reservation: &Reservation, sku: &str) -> u32 {
    reservation.lines.iter().filter(|line| line.sku == sku).map(|line| line.quantity).sum()
}

fn is_outstanding(state: ReservationState) -> bool {
    matches!(state, ReservationState::Reserved | ReservationState::PaymentSubmitted)
}

fn is_past(reservation: &Reservation) -> bool {
    reservation.pay_by_ms == PAST_DEADLINE
}

fn set_details(reservation: &mut Reservation, details: PaymentDetails) {
    reservation.payment_method_id = details.payment_method_id;
    reservation.delivery_address_id = details.delivery_address_id;
}
