//! The units of one SKU in one sale, and how orders move them.
//!
//! `preloaded = remaining + reserved + sold` holds before and after every [`Move`], because a move only
//! carries units from one column to another.

pub use rocketmart_contracts::internal_api::Counters;

/// Units that changed columns. Sums of moves are moves, so a batch writes one row per SKU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Move {
    pub remaining: i64,
    pub reserved: i64,
    pub sold: i64,
}

impl Move {
    /// `units` leave the shelf for a buyer who has yet to pay.
    pub fn reserve(units: i64) -> Self {
        Self { remaining: -units, reserved: units, sold: 0 }
    }

    /// `units` go back to the shelf unpaid.
    pub fn release(units: i64) -> Self {
        Self { remaining: units, reserved: -units, sold: 0 }
    }

    /// `units` are paid for.
    pub fn sell(units: i64) -> Self {
        Self { remaining: 0, reserved: -units, sold: units }
    }

    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Move {
    fn add_assign(&mut self, other: Self) {
        self.remaining += other.remaining;
        self.reserved += other.reserved;
        self.sold += other.sold;
    }
}

/// How the durable stock of one SKU changes. Sums of moves are moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StockMove {
    pub on_hand: i64,
    /// Units on hand that are promised to sales.
    pub allocated: i64,
    /// Units on hand that are on a shelf of the ordinary stock, free or reserved.
    pub shelved: i64,
}

impl StockMove {
    /// `units` that were allocated to a sale are paid for and leave.
    pub fn sell(units: i64) -> Self {
        Self { on_hand: -units, allocated: -units, shelved: 0 }
    }

    /// `units` of ordinary stock are paid for and leave.
    pub fn sell_off_the_shelf(units: i64) -> Self {
        Self { on_hand: -units, allocated: 0, shelved: -units }
    }

    /// `units` that had left come back, promised to nobody.
    pub fn take_back(units: i64) -> Self {
        Self { on_hand: units, allocated: 0, shelved: 0 }
    }
}

impl std::ops::AddAssign for StockMove {
    fn add_assign(&mut self, other: Self) {
        self.on_hand += other.on_hand;
        self.allocated += other.allocated;
        self.shelved += other.shelved;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_move_makes_or_loses_a_unit() {
        for moved in [Move::reserve(3), Move::release(3), Move::sell(3)] {
            assert_eq!(moved.remaining + moved.reserved + moved.sold, 0);
        }
    }

    #[test]
    fn a_reservation_and_its_release_cancel_out() {
        let mut sum = Move::reserve(2);
        sum += Move::release(2);
        assert!(sum.is_nothing());
    }
}
