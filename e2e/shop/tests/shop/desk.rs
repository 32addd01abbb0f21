//! Where requests are made: the shop, a person of each role, and the things they own and may edit.

use reqwest::Method;
use rocketmart_shop::{Answer, Call, Member, Shop, mug, unique};
use serde_json::Value;
use uuid::Uuid;

use crate::document::{self, Operation};
use crate::operations::{Role, Row, table};

pub(crate) struct Desk {
    pub(crate) shop: Shop,
    pub(crate) buyer: Member,
    pub(crate) seller: Member,
    administrator: String,
    /// The things that can be edited, by the beginning of their path.
    theirs: Vec<(&'static str, String)>,
    pub(crate) entries: Vec<(Operation, Row)>,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        let (shop, services) = document::open().await;
        let operations = document::operations(&shop, &services).await;
        let entries = operations
            .into_iter()
            .filter_map(|operation| {
                let row = table().into_iter().find(|row| row.operation == operation.name)?;
                Some((operation, row))
            })
            .collect();
        let (buyer, seller) = (shop.buyer().await, shop.seller().await);
        let product = shop.post("/api/v1/products").by(&seller).json(&mug(&unique("MUG"), 100, 1)).await;
        let sale = shop.sale_of(1).await;
        let order = shop.purchase(&buyer, &sale).await.expect(201);
        let id = |thing: &Value| thing["id"].as_str().unwrap().to_owned();
        let theirs = vec![
            ("/api/v1/products/{id}", id(&product.expect(201))),
            ("/api/v1/addresses/{id}", shop.address(&buyer).await),
            ("/api/v1/orders/{id}", id(&order)),
            ("/api/v1/sales/{sale}", sale.name),
        ];
        Self { administrator: shop.administrator().await, shop, buyer, seller, theirs, entries }
    }

    /// The good request without its body, from somebody who may send it. If the body matters, it is about
    /// something of theirs.
    pub(crate) fn request(&self, operation: &Operation, row: &Row) -> Call {
        let theirs = self.theirs.iter().find(|(path, _)| operation.path.starts_with(path));
        let id = theirs.map_or_else(|| Uuid::nil().to_string(), |(_, id)| id.clone());
        self.request_to(operation, row, &operation.path_with(&id))
    }

    /// Deletes what a request made. Otherwise a limit on how many there may be would answer the next one.
    pub(crate) async fn take_back(&self, operation: &Operation, answer: &Answer) {
        let deletion = format!("DELETE {}/{{id}}", operation.path);
        let entry = self.entries.iter().find(|(operation, _)| operation.name == deletion);
        if let Some((deletion, row)) = entry
            && (&operation.method, answer.status) == (&Method::POST, 201)
            && let Some(id) = answer.json()["id"].as_str()
        {
            self.request_to(deletion, row, &format!("{}/{id}", operation.path)).await.expect(204);
        }
    }

    pub(crate) fn request_to(&self, operation: &Operation, row: &Row, path: &str) -> Call {
        let mut call = self.shop.call(operation.method.clone(), path);
        let headers = operation.parameters("header");
        if headers.iter().any(|name| name.eq_ignore_ascii_case("idempotency-key")) {
            call = call.key(&Uuid::now_v7().to_string());
        }
        if headers.iter().any(|name| name.eq_ignore_ascii_case("if-match")) {
            call = call.if_match("*");
        }
        match row.role {
            Role::Anyone => call,
            Role::Buyer => call.by(&self.buyer),
            Role::Seller => call.by(&self.seller),
            Role::Administrator => call.bearer(&self.administrator),
        }
    }
}

impl Operation {
    pub(crate) fn path_with(&self, value: &str) -> String {
        self.parameters("path")
            .iter()
            .fold(self.path.clone(), |path, name| path.replace(&format!("{{{name}}}"), value))
    }
}
