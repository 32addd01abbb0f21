//! What a member may do.

use rocketmart_kit::auth::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The roles people give themselves; `admin` is only ever given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChosenRole {
    Buyer,
    Seller,
}

impl From<ChosenRole> for Role {
    fn from(chosen: ChosenRole) -> Self {
        match chosen {
            ChosenRole::Buyer => Self::Buyer,
            ChosenRole::Seller => Self::Seller,
        }
    }
}

/// The spelling in tokens and in the database.
pub(crate) fn name(role: Role) -> &'static str {
    match role {
        Role::Buyer => "buyer",
        Role::Seller => "seller",
        Role::Admin => "admin",
    }
}

pub(crate) fn parse(name: &str) -> Option<Role> {
    [Role::Buyer, Role::Seller, Role::Admin].into_iter().find(|role| self::name(*role) == name)
}

/// The roles of a member who chose `chosen`: each once, buyer if nothing was chosen.
pub(crate) fn of_choice(chosen: &[ChosenRole]) -> Vec<Role> {
    let has = |role| chosen.contains(&role);
    let mut roles = Vec::new();
    if has(ChosenRole::Buyer) || chosen.is_empty() {
        roles.push(Role::Buyer);
    }
    if has(ChosenRole::Seller) {
        roles.push(Role::Seller);
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chosen: &[ChosenRole]) -> Vec<&'static str> {
        of_choice(chosen).into_iter().map(name).collect()
    }

    #[test]
    fn a_role_is_held_once_and_nobody_is_without_one() {
        assert_eq!(names(&[]), ["buyer"]);
        assert_eq!(names(&[ChosenRole::Seller, ChosenRole::Buyer, ChosenRole::Seller]), ["buyer", "seller"]);
    }

    #[test]
    fn every_role_reads_back_as_written() {
        for written in ["buyer", "seller", "admin"] {
            assert_eq!(parse(written).map(name), Some(written));
        }
        assert!(parse("root").is_none());
    }
}
