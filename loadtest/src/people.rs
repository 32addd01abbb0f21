//! The people of a shop before its sale: a seller with products, buyers who sign up by mail, and thousands
//! more imported by an administrator.
//!
//! The few sign up as anyone would (a real mail, its link, a log-in). The many are imported, verified and
//! without a password, so that hashing passwords does not become the load test.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Call, Client};

/// A member who can shop: identity and an access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Person {
    pub id: Uuid,
    pub email: String,
    pub token: String,
    /// Signed up themselves (not imported), and have an address of their own.
    pub signed_up: bool,
}

/// A SKU that the seller offers before the sale.
#[derive(Debug, Clone)]
pub struct Product {
    pub sku: String,
    pub title: String,
    pub price: i64,
    pub currency: String,
    pub quantity: u32,
}

/// How many people sign up at the same time: each costs two Argon2id hashes.
const SIGN_UPS_AT_ONCE: usize = 4;
const MAIL_PATIENCE: Duration = Duration::from_mins(1);
const IMPORT_CHUNK: usize = 1_000;

/// The path of addresses.
pub const ADDRESSES: &str = "/api/v1/addresses";

/// An example address.
pub fn home() -> Value {
    json!({
        "recipient": "A. Buyer", "line1": "12 Launch Road", "city": "Seoul", "postal_code": "04524",
        "country": "KR", "phone": "+82 2-1234-5678"
    })
}

/// The services that people use.
#[derive(Debug, Clone)]
pub struct Town {
    pub shop: Client,
    pub mail: Client,
    /// Keeps the addresses of this run apart from those of another run on the same cluster.
    pub run: String,
}

impl Town {
    /// Signs up, clicks the link in the mail, logs in.
    pub async fn sign_up(&self, name: &str, role: &str) -> Result<Person> {
        let email = format!("{name}.{}@shoppers.example", self.run);
        let password = format!("correct horse {name} battery");
        let body = json!({"email": email, "password": password, "name": name, "roles": [role]});
        self.post("/api/v1/members", None, &body).await?.expect_success("sign-up")?;
        let link = self.mailed_link(&email).await?;
        let page = self.shop.get(&link, None).await?;
        if !page.status.is_success() {
            bail!("the link in the mail answered {}", page.status);
        }
        let token = link.split("token=").nth(1).context("the link in the mail has no token")?;
        self.post("/api/v1/members/verify", None, &json!({"token": token}))
            .await?
            .expect_success("verification")?;
        let session = self
            .post("/api/v1/sessions", None, &json!({"email": email, "password": password}))
            .await?
            .expect_success("log-in")?;
        let token = text(&session, "access_token")?;
        let me = self.shop.get("/api/v1/me", Some(&token)).await?.expect_success("profile")?;
        Ok(Person { id: text(&me, "id")?.parse()?, email, token, signed_up: true })
    }

    /// `count` people who sign up themselves, each with a delivery address.
    pub async fn sign_up_buyers(&self, count: usize) -> Result<Vec<Person>> {
        stream::iter(0..count)
            .map(|number| async move {
                let person = self.sign_up(&format!("buyer{number}"), "buyer").await?;
                self.post(ADDRESSES, Some(&person.token), &home()).await?.expect_success("address")?;
                Ok(person)
            })
            .buffer_unordered(SIGN_UPS_AT_ONCE)
            .try_collect()
            .await
    }

    /// `count` members imported by an administrator, with tokens of the same issuer.
    pub async fn import(&self, administrator: &str, count: usize) -> Result<Vec<Person>> {
        let mut people = Vec::with_capacity(count);
        let numbers: Vec<usize> = (0..count).collect();
        for chunk in numbers.chunks(IMPORT_CHUNK) {
            let members: Vec<Value> = chunk
                .iter()
                .map(|n| json!({"email": format!("shopper{n}.{}@shoppers.example", self.run), "name": format!("Shopper {n}")}))
                .collect();
            let imported = self
                .post("/api/v1/admin/members/import", Some(administrator), &json!({"members": members}))
                .await?
                .expect_success("import of members")?;
            let ids: Vec<Value> =
                array(&imported, "members")?.iter().map(|member| member["id"].clone()).collect();
            let issued = self
                .post("/api/v1/admin/tokens", Some(administrator), &json!({"member_ids": ids}))
                .await?
                .expect_success("tokens for imported members")?;
            for (member, token) in array(&imported, "members")?.iter().zip(array(&issued, "tokens")?) {
                if member["id"] != token["member_id"] {
                    bail!("tokens came back in another order than they were asked for");
                }
                people.push(Person {
                    id: text(member, "id")?.parse()?,
                    email: text(member, "email")?,
                    token: text(token, "access_token")?,
                    signed_up: false,
                });
            }
        }
        Ok(people)
    }

    /// Logs the administrator in.
    pub async fn administrator(&self, email: &str, password: &str) -> Result<String> {
        let session = self
            .post("/api/v1/sessions", None, &json!({"email": email, "password": password}))
            .await?
            .expect_success("log-in of the administrator")?;
        text(&session, "access_token")
    }

    /// Creates a product and publishes it. A product from an earlier run stays.
    pub async fn publish(&self, seller: &Person, product: &Product) -> Result<()> {
        let body = json!({
            "title": product.title, "description": "A limited edition.", "currency": product.currency,
            "categories": ["rockets"], "tags": ["limited"],
            "variants": [{"sku": product.sku, "price": product.price, "quantity": product.quantity}]
        });
        let created =
            self.post("/api/v1/products", Some(&seller.token), &body).await?.expect_success("product")?;
        let id = text(&created, "id")?;
        self.post(&format!("/api/v1/products/{id}/publish"), Some(&seller.token), &Value::Null)
            .await?
            .expect_success("publishing")?;
        Ok(())
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<crate::client::Answer> {
        let key = Uuid::now_v7().to_string();
        let body = (!body.is_null()).then_some(body);
        self.shop
            .send(Method::POST, path, Call { token, idempotency_key: Some(&key), body, if_match: None })
            .await
            .with_context(|| format!("POST {path}"))
    }

    /// The path and query of the link in the newest mail to an address.
    async fn mailed_link(&self, email: &str) -> Result<String> {
        let deadline = tokio::time::Instant::now() + MAIL_PATIENCE;
        loop {
            let mails = self.mail.get(&format!("/mails?to={email}"), None).await?.expect_success("mails")?;
            if let Some(link) = mails.as_array().and_then(|mails| mails.first()).and_then(link_in) {
                return Ok(link);
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("no mail to {email} within {} s", MAIL_PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The first link of a mail's plain text, without scheme and host.
fn link_in(mail: &Value) -> Option<String> {
    let url = mail["text"]
        .as_str()?
        .split_whitespace()
        .find(|word| word.contains("/api/v1/members/verify?token="))?;
    Some(url[url.find("/api/v1/")?..].to_owned())
}

fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("no `{field}` in {value}"))
}

fn array<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field].as_array().with_context(|| format!("no list `{field}` in {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_found_in_the_text_of_a_mail() {
        let mail = json!({"text": "Welcome!\nhttps://shop.example/api/v1/members/verify?token=abc\nBye."});
        assert_eq!(link_in(&mail).as_deref(), Some("/api/v1/members/verify?token=abc"));
    }
}
