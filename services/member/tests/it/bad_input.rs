use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{PASSWORD, Shop, answer};

/// A body that breaks one rule, and the field and rule the answer must name.
type Case = (Value, &'static str, &'static str);

async fn refused(shop: &Shop, method: Method, path: &str, access: Option<&str>, cases: Vec<Case>) {
    for (body, field, rule) in cases {
        let answer = shop.send(method.clone(), path, access, Some(body.clone())).await;
        let problem = answer.expect_problem(422, "validation-failed");
        let named = problem["errors"].as_array().unwrap();
        let found = named.iter().any(|error| error["field"] == field && error["rule"] == rule);
        assert!(found, "{method} {path} {body}: {field} {rule} not in {named:?}");
    }
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_names_field_and_rule() {
    let shop = Shop::open().await;
    let with = |change: Value| {
        let mut body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let cases = vec![
        (with(json!({"email": 7})), "email", "type"),
        (json!({"password": PASSWORD, "name": "Ada"}), "email", "required"),
        (with(json!({"email": "ada"})), "email", "email"),
        (with(json!({"email": format!("{}@example.com", long(250))})), "email", "max-length"),
        (with(json!({"password": ["a"]})), "password", "type"),
        (with(json!({"password": "short"})), "password", "min-length"),
        (with(json!({"password": long(129)})), "password", "max-length"),
        (with(json!({"password": "Password123!"})), "password", "common-password"),
        (with(json!({"name": null})), "name", "type"),
        (with(json!({"name": " "})), "name", "min-length"),
        (with(json!({"name": long(101)})), "name", "max-length"),
        (with(json!({"roles": "buyer"})), "roles", "type"),
        (with(json!({"roles": ["admin"]})), "roles[0]", "invalid"),
        (with(json!({"roles": ["buyer", "buyer", "buyer"]})), "roles", "max-items"),
        (with(json!({"admin": true})), "admin", "unknown"),
    ];
    refused(&shop, Method::POST, "/api/v1/members", None, cases).await;

    let all = json!({"email": "ada", "password": "short", "name": ""});
    let problem = shop.post("/api/v1/members", all).await.expect_problem(422, "validation-failed");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 3, "every broken rule at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_links_name_field_and_rule() {
    let shop = Shop::open().await;
    let cases = vec![
        (json!({"email": "ada@example.com"}), "password", "required"),
        (json!({"email": 1, "password": "x"}), "email", "type"),
        (json!({"email": "ada", "password": "x"}), "email", "email"),
        (json!({"email": "ada@example.com", "password": long(129)}), "password", "max-length"),
        (json!({"email": "ada@example.com", "password": "x", "otp": 1}), "otp", "unknown"),
    ];
    refused(&shop, Method::POST, "/api/v1/sessions", None, cases).await;
    let cases = vec![
        (json!({}), "refresh_token", "required"),
        (json!({"refresh_token": 1}), "refresh_token", "type"),
        (json!({"refresh_token": "x", "y": 1}), "y", "unknown"),
    ];
    refused(&shop, Method::POST, "/api/v1/sessions/refresh", None, cases).await;
    let cases = vec![
        (json!({}), "token", "required"),
        (json!({"token": 1}), "token", "type"),
        (json!({"token": "x", "y": 1}), "y", "unknown"),
    ];
    refused(&shop, Method::POST, "/api/v1/members/verify", None, cases).await;
    let cases = vec![
        (json!({}), "email", "required"),
        (json!({"email": []}), "email", "type"),
        (json!({"email": "a@"}), "email", "email"),
        (json!({"email": "a@example.com", "y": 1}), "y", "unknown"),
    ];
    refused(&shop, Method::POST, "/api/v1/password-resets", None, cases).await;
    let cases = vec![
        (json!({"token": "x"}), "password", "required"),
        (json!({"password": "x"}), "token", "required"),
        (json!({"token": "x", "password": 1}), "password", "type"),
        (json!({"token": "x", "password": "x", "y": 1}), "y", "unknown"),
    ];
    refused(&shop, Method::POST, "/api/v1/password-resets/confirm", None, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_changes_name_field_and_rule() {
    let shop = Shop::open().await;
    let session = shop.join("ada@example.com").await;
    let cases = vec![
        (json!({"name": 1}), "name", "type"),
        (json!({"name": ""}), "name", "min-length"),
        (json!({"name": long(101)}), "name", "max-length"),
        (json!({"roles": []}), "roles", "items"),
        (json!({"roles": ["root"]}), "roles[0]", "invalid"),
        (json!({"email": "new@example.com"}), "email", "unknown"),
    ];
    refused(&shop, Method::PATCH, "/api/v1/me", Some(&session.access), cases).await;
    let cases = vec![
        (json!({"current_password": PASSWORD}), "new_password", "required"),
        (json!({"current_password": 1, "new_password": "x"}), "current_password", "type"),
        (json!({"current_password": PASSWORD, "new_password": "x"}), "new_password", "min-length"),
        (json!({"current_password": long(129), "new_password": PASSWORD}), "current_password", "max-length"),
        (
            json!({"current_password": PASSWORD, "new_password": "ada1234567"}),
            "new_password",
            "common-password",
        ),
        (json!({"current_password": PASSWORD, "new_password": PASSWORD, "y": 1}), "y", "unknown"),
    ];
    refused(&shop, Method::PUT, "/api/v1/me/password", Some(&session.access), cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_names_field_and_rule() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let one = |change: Value| {
        let mut member = json!({"email": "ada@example.com", "name": "Ada"});
        member.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"members": [{"email": "b@example.com", "name": "B"}, member]})
    };
    let cases = vec![
        (json!({}), "members", "required"),
        (json!({"members": {}}), "members", "type"),
        (json!({"members": []}), "members", "items"),
        (
            json!({"members": vec![json!({"email": "a@x.example", "name": "A"}); 1001]}),
            "members",
            "max-items",
        ),
        (one(json!({"email": "x"})), "members[1].email", "email"),
        (one(json!({"email": 1})), "members[1].email", "type"),
        (one(json!({"name": ""})), "members[1].name", "min-length"),
        (one(json!({"password": "x"})), "members[1].password", "unknown"),
    ];
    refused(&shop, Method::POST, "/api/v1/admin/members/import", Some(&admin.access), cases).await;
    let id = "00000000-0000-4000-8000-000000000000";
    let cases = vec![
        (json!({}), "member_ids", "required"),
        (json!({"member_ids": []}), "member_ids", "items"),
        (json!({"member_ids": vec![id; 1001]}), "member_ids", "max-items"),
        (json!({"member_ids": ["x"]}), "member_ids[0]", "invalid"),
        (json!({"member_ids": [1]}), "member_ids[0]", "type"),
        (json!({"member_ids": [id]}), "member_ids[0]", "member"),
    ];
    refused(&shop, Method::POST, "/api/v1/admin/tokens", Some(&admin.access), cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_and_what_is_too_large_is_said_so() {
    let shop = Shop::open().await;
    let post = |body: String, kind: &'static str| {
        shop.request(Method::POST, "/api/v1/members").header("content-type", kind).body(body)
    };
    answer(post("{".into(), "application/json")).await.expect_problem(400, "malformed-json");
    answer(post("email=a".into(), "text/plain")).await.expect_problem(415, "unsupported-media-type");
    let large = json!({"name": long(2_000_000)}).to_string();
    answer(post(large, "application/json")).await.expect_problem(413, "body-too-large");

    answer(shop.request(Method::GET, "/api/v1/members/verify")).await.expect_problem(400, "query-invalid");
    answer(shop.request(Method::GET, "/api/v1/members/verify?token=a&b=c"))
        .await
        .expect_problem(400, "query-invalid");
    let form = shop.request(Method::POST, "/api/v1/members/verify").form(&[("tok", "x")]);
    answer(form).await.expect_problem(422, "malformed-form");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_token_is_refused_without_one() {
    let shop = Shop::open().await;
    for (method, path) in [
        (Method::GET, "/api/v1/me"),
        (Method::PATCH, "/api/v1/me"),
        (Method::DELETE, "/api/v1/me"),
        (Method::PUT, "/api/v1/me/password"),
        (Method::DELETE, "/api/v1/sessions"),
        (Method::DELETE, "/api/v1/sessions/current"),
        (Method::POST, "/api/v1/admin/members/import"),
        (Method::POST, "/api/v1/admin/tokens"),
    ] {
        let answer = shop.send(method.clone(), path, None, Some(json!({}))).await;
        answer.expect_problem(401, "unauthenticated");
    }
}
