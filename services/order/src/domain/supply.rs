//! What a seller says about the units of a SKU, and what that does to the books.
//!
//! *On hand* are the units that the seller has and that nobody has paid for: free ones, those that buyers
//! hold unpaid, and those allotted to flash sales. A count says how many that are; a difference says how
//! many more or fewer they have become. Neither can take away what is promised:
//!
//! ```text
//!   on_hand = what the seller has + surplus
//! ```
//!
//! The surplus is promised units that the seller does not have. We remove them as they come free. Those
//! that buyers pay for instead are missing for good, and the next units to arrive make up for them.

/// A SKU as the books have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    pub on_hand: i64,
    /// Units on hand that are neither promised to a flash sale nor on a shelf.
    pub unoffered: i64,
    pub surplus: i64,
    /// What the seller last said, counts and differences together.
    pub told: i64,
    /// The version of the product in which that was counted.
    pub counted_in: i64,
}

/// What a version of the product says: this many, counted in that version and corrected by differences
/// since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub quantity: i64,
    /// `None`: from a version of the catalog that did not know counts, so only the difference applies.
    pub counted_in: Option<i64>,
}

impl Books {
    /// Follows the seller. Whatever the seller says counts once: saying it again changes nothing.
    pub fn follow(self, said: Said) -> Self {
        let has = self.on_hand - self.surplus;
        let counted_in = said.counted_in.unwrap_or(self.counted_in).max(self.counted_in);
        let has = if counted_in > self.counted_in { said.quantity } else { has + said.quantity - self.told };
        Self { told: said.quantity, counted_in, ..self.with(has) }
    }

    /// Follows another product, which brings its own units. `promised` units of the one before stay
    /// promised.
    pub fn hand_over(self, said: Said, promised: i64) -> Self {
        let counted_in = said.counted_in.unwrap_or_default();
        Self { told: said.quantity, counted_in, ..self.with(promised + said.quantity) }
    }

    /// The books with this many units in the seller's hands.
    fn with(self, has: i64) -> Self {
        let on_hand = self.on_hand.max(has);
        let surplus = on_hand - has;
        let cut = surplus.min(self.unoffered + on_hand - self.on_hand);
        Self {
            on_hand: on_hand - cut,
            unoffered: self.unoffered + on_hand - self.on_hand - cut,
            surplus: surplus - cut,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty declared in version 1, all of them on a shelf.
    const FULL: Books = Books { on_hand: 20, unoffered: 0, surplus: 0, told: 20, counted_in: 1 };

    fn counted(quantity: i64, counted_in: i64) -> Said {
        Said { quantity, counted_in: Some(counted_in) }
    }

    fn sold(books: Books, units: i64) -> Books {
        Books { on_hand: books.on_hand - units, ..books }
    }

    #[test]
    fn a_count_is_what_is_on_hand_however_much_was_sold_before_s5() {
        let emptied = sold(FULL, 20);
        assert_eq!(emptied.follow(counted(20, 2)).on_hand, 20, "as many again");
        assert_eq!(sold(FULL, 5).follow(counted(15, 2)).on_hand, 15, "counted after five were sold");
        assert_eq!(sold(FULL, 5).follow(counted(30, 2)).on_hand, 30);
    }

    #[test]
    fn what_is_told_again_counts_once_s5() {
        let counted_again = sold(FULL, 20).follow(counted(20, 2));
        let sold_since = sold(counted_again, 7);
        assert_eq!(sold_since.follow(counted(20, 2)).on_hand, 13);
        assert_eq!(sold_since.follow(counted(20, 1)).on_hand, 13, "an older one is no count");
    }

    #[test]
    fn a_difference_adds_to_what_is_there_and_a_count_that_was_missed_is_taken_with_it() {
        let sold_five = sold(FULL, 5);
        assert_eq!(sold_five.follow(counted(23, 1)).on_hand, 18, "three more");
        assert_eq!(sold_five.follow(counted(23, 2)).on_hand, 23, "counted, and corrected, in one event");
        assert_eq!(sold_five.follow(Said { quantity: 22, counted_in: None }).on_hand, 17);
    }

    #[test]
    fn a_count_below_what_is_promised_takes_the_rest_as_it_comes_free() {
        let unoffered = Books { unoffered: 3, ..FULL };
        let less = unoffered.follow(counted(12, 2));
        assert_eq!((less.on_hand, less.unoffered, less.surplus), (17, 0, 5), "three were nobody's");
        // All that was promised has been paid for. Five are missing, so of the next ten, five count.
        let missing = sold(less, 17).follow(counted(22, 2));
        assert_eq!((missing.on_hand, missing.surplus), (5, 0));
        assert_eq!(sold(less, 17).follow(counted(10, 3)).on_hand, 10, "a count says what there is");
    }

    #[test]
    fn another_product_brings_its_units_beside_what_is_still_promised_s1() {
        let books = Books { on_hand: 20, unoffered: 2, ..FULL };
        let taken = books.hand_over(counted(5, 1), 4);
        assert_eq!((taken.on_hand - taken.surplus, taken.told, taken.counted_in), (9, 5, 1));
        assert_eq!(
            (taken.on_hand, taken.unoffered, taken.surplus),
            (18, 0, 9),
            "nine too many are on the shelf yet"
        );
        assert_eq!(books.hand_over(counted(50, 7), 4).on_hand, 54);
    }
}
