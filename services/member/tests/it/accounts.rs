use reqwest::Method;
use serde_json::json;

use crate::shop::{PASSWORD, Shop};

const NEW: &str = "another fine long phrase";

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_password_asks_for_the_old_one_and_ends_other_sessions() {
    let shop = Shop::open().await;
    let here = shop.join("ada@example.com").await;
    let there = shop.log_in("ada@example.com").await;
    let change = async |current: &str| {
        let body = json!({"current_password": current, "new_password": NEW});
        shop.send(Method::PUT, "/api/v1/me/password", Some(&here.access), Some(body)).await
    };
    change("not the old one").await.expect_problem(403, "password-wrong");
    change(PASSWORD).await.expect(204);

    shop.refresh(&here.refresh).await.expect(200);
    shop.refresh(&there.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.get("/api/v1/me", &there.access).await.expect_problem(401, "session-ended");
    shop.log_in_with("ada@example.com", PASSWORD).await.expect(401);
    shop.log_in_with("ada@example.com", NEW).await.expect(201);
    shop.mail.wait_for("ada@example.com", "Your password was changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_changes_field_by_field() {
    let shop = Shop::open().await;
    let session = shop.join("ada@example.com").await;
    let patch = async |body| shop.send(Method::PATCH, "/api/v1/me", Some(&session.access), Some(body)).await;
    assert_eq!(patch(json!({"name": " 에이다 "})).await.expect(200)["name"], "에이다");
    let changed = patch(json!({"roles": ["seller"]})).await.expect(200);
    assert_eq!((&changed["name"], &changed["roles"]), (&json!("에이다"), &json!(["seller"])));
    assert_eq!(patch(json!({})).await.expect(200), changed);
    assert_eq!(shop.get("/api/v1/me", &session.access).await.expect(200), changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_role_is_in_the_next_access_token() {
    let shop = Shop::open().await;
    let session = shop.join("ada@example.com").await;
    let body = json!({"roles": ["buyer", "seller"]});
    shop.send(Method::PATCH, "/api/v1/me", Some(&session.access), Some(body)).await.expect(200);
    let renewed = shop.refresh(&session.refresh).await.expect(200);
    let claims = crate::forged_tokens::claims(renewed["access_token"].as_str().unwrap());
    assert_eq!(claims["roles"], json!(["buyer", "seller"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_is_gone_and_its_address_free() {
    let shop = Shop::open().await;
    let session = shop.join("ada@example.com").await;
    let delete =
        async |body| shop.send(Method::DELETE, "/api/v1/me", Some(&session.access), Some(body)).await;
    // M6: deleting an account needs the password.
    delete(json!({})).await.expect_problem(422, "validation-failed");
    delete(json!({"password": "not the right one"})).await.expect_problem(403, "password-wrong");
    shop.get("/api/v1/me", &session.access).await.expect(200);
    // An unconfirmed sign-up and a failed log-in, both for the same person.
    shop.execute(
        "INSERT INTO sign_ups (id, email, name, roles, password_hash, expires_at)
         VALUES (gen_random_uuid(), 'ada@example.com', 'Ada', ARRAY['buyer'], '', now() + interval '1 hour')",
    )
    .await;
    shop.log_in_with("ada@example.com", "a wrong guess").await.expect(401);
    delete(json!({"password": PASSWORD})).await.expect(204);
    let (left,): (i64,) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM sign_ups) + (SELECT count(*) FROM attempts WHERE account IS NOT NULL)",
    )
    .fetch_one(&shop.db)
    .await
    .unwrap();
    assert_eq!(left, 0, "all that this service knew of them is gone");
    shop.mail.wait_for("ada@example.com", "Your account was deleted").await;
    shop.get("/api/v1/me", &session.access).await.expect_problem(401, "session-ended");
    shop.refresh(&session.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.log_in_with("ada@example.com", PASSWORD).await.expect(401);

    shop.sign_up("ada@example.com").await.expect(202);
    shop.mail.wait_for("ada@example.com", "Confirm your e-mail address").await;
}
