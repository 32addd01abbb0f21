//! Members. Signing up hashes a password and waits for a mail, so the administrator brings in most of a
//! test's people, verified and without a password. To the services it makes no difference.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{Answer, Shop, answer::text, eventually, unique};

/// The password of everybody who signs up in a test.
pub const PASSWORD: &str = "a fine long pass phrase";

/// Somebody with a valid access token.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: Uuid,
    pub email: String,
    pub token: String,
}

impl Shop {
    pub async fn buyer(&self) -> Member {
        self.brought_in("buyer").await
    }

    pub async fn seller(&self) -> Member {
        let before = self.brought_in("seller").await;
        self.patch("/api/v1/me").by(&before).json(&json!({"roles": ["buyer", "seller"]})).await.expect(200);
        // The roles are in the token, so the member needs a new one.
        let token = self.token_for(before.id, &self.administrator().await).await;
        Member { token, ..before }
    }

    /// An access token of the first administrator, who logs in once per test process.
    pub async fn administrator(&self) -> String {
        static LOGGED_IN: OnceCell<String> = OnceCell::const_new();
        let log_in = async || {
            let (email, password) = &self.place.administrator;
            text(&self.log_in(email, password).await.expect(201), "access_token")
        };
        LOGGED_IN.get_or_init(log_in).await.clone()
    }

    /// Signs up, reads the mail, follows its link, logs in.
    pub async fn sign_up(&self, role: &str) -> Member {
        let email = address_of(role);
        self.post("/api/v1/members")
            .json(&json!({"email": email, "password": PASSWORD, "name": "Ada", "roles": [role]}))
            .await
            .expect(202);
        let token = self.mailed_token(&email, "/members/verify").await;
        self.post("/api/v1/members/verify").json(&json!({"token": token})).await.expect(204);
        let session = self.log_in(&email, PASSWORD).await.expect(201);
        let token = text(&session, "access_token");
        let me = self.get("/api/v1/me").bearer(&token).await.expect(200);
        Member { id: text(&me, "id").parse().expect("an id"), email, token }
    }

    pub async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.post("/api/v1/sessions").json(&json!({"email": email, "password": password})).await
    }

    /// Waits for a mail to an address whose text contains something; returns the newest.
    pub async fn mail_to(&self, email: &str, containing: &str) -> Value {
        let url = format!("{}/mails?to={email}", self.place.mail);
        eventually(&format!("a mail to {email} with {containing}"), async || {
            let mails = self.outside(Method::GET, &url).await.expect(200);
            let about = |mail: &&Value| mail["text"].as_str().is_some_and(|text| text.contains(containing));
            mails.as_array().and_then(|mails| mails.iter().find(about)).cloned()
        })
        .await
    }

    /// The token in the link of the newest mail that leads there.
    pub async fn mailed_token(&self, email: &str, path: &str) -> String {
        let mail = self.mail_to(email, &format!("{path}?token=")).await;
        let (_, rest) = mail["text"].as_str().and_then(|text| text.split_once("?token=")).expect("a link");
        rest.split_whitespace().next().expect("a token").to_owned()
    }

    async fn brought_in(&self, what: &str) -> Member {
        let administrator = self.administrator().await;
        let email = address_of(what);
        let imported = self
            .post("/api/v1/admin/members/import")
            .bearer(&administrator)
            .json(&json!({"members": [{"email": email, "name": "Grace"}]}))
            .await
            .expect(200);
        let id = text(&imported["members"][0], "id").parse().expect("an id");
        Member { id, email, token: self.token_for(id, &administrator).await }
    }

    async fn token_for(&self, id: Uuid, administrator: &str) -> String {
        let issued = self
            .post("/api/v1/admin/tokens")
            .bearer(administrator)
            .json(&json!({"member_ids": [id]}))
            .await
            .expect(200);
        text(&issued["tokens"][0], "access_token")
    }
}

fn address_of(what: &str) -> String {
    format!("{}@members.example", unique(what).to_lowercase())
}
