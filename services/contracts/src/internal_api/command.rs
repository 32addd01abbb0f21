//! What the operator may ask of a sale.

use serde::{Deserialize, Serialize};

use super::SALE;

/// Fences are compared in Redis too, where numbers are exact up to this.
pub const MAX_FENCE: i64 = (1 << 53) - 1;

/// A command. One that was carried out changes nothing when it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Allot units, load them and read them back; also adds units and time to a loaded sale. A PUT of
    /// [`SaleTerms`](super::SaleTerms); the others are POSTs of [`Fenced`].
    Load,
    Suspend,
    Resume,
    Close,
    Cancel,
    /// Compare the books and sign them off; answered by a [`CloseOut`](super::CloseOut).
    CloseOut,
    /// Make the sale anew in Redis, which has lost it, from PostgreSQL.
    Rebuild,
}

impl Command {
    /// The path of this command for any sale, with `{id}` in place of the sale's.
    pub const fn route(self) -> &'static str {
        match self {
            Self::Load => SALE,
            Self::Suspend => "/internal/v1/sales/{id}/suspend",
            Self::Resume => "/internal/v1/sales/{id}/resume",
            Self::Close => "/internal/v1/sales/{id}/close",
            Self::Cancel => "/internal/v1/sales/{id}/cancel",
            Self::CloseOut => "/internal/v1/sales/{id}/close-out",
            Self::Rebuild => "/internal/v1/sales/{id}/rebuild",
        }
    }

    /// The path of this command for one sale.
    pub fn path(self, sale: &str) -> String {
        self.route().replace("{id}", sale)
    }
}

/// The body of every command but [`Command::Load`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fenced {
    /// Never decreases from one leader of the operator to the next; at most [`MAX_FENCE`].
    pub fence: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_route_with_the_sale_filled_in() {
        assert_eq!(Command::CloseOut.path("7"), "/internal/v1/sales/7/close-out");
        assert_eq!(Command::Load.path("7"), crate::internal_api::sale("7"));
    }
}
