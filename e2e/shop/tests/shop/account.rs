//! Rows 6, 14 and the profile of row 18: members, their mails, their sessions.

use rocketmart_shop::{PASSWORD, Shop, eventually, unique};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn row_06_sign_up_and_password_reset_go_through_a_link_in_a_mail() {
    let shop = Shop::open().await;
    let email = format!("{}@members.example", unique("ada"));
    let sign_up = json!({"email": email, "password": PASSWORD, "name": "Ada"});
    shop.post("/api/v1/members").json(&sign_up).await.expect(202);
    shop.log_in(&email, PASSWORD).await.refused(401, "invalid-credentials");

    let token = shop.mailed_token(&email, "/members/verify").await;
    let page = shop.get(&format!("/api/v1/members/verify?token={token}")).await;
    page.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "the link opens a page");
    shop.log_in(&email, PASSWORD).await.refused(401, "invalid-credentials");
    shop.post("/api/v1/members/verify").json(&json!({"token": token})).await.expect(204);
    // M12: the link works when pressed a second time.
    shop.post("/api/v1/members/verify").json(&json!({"token": token})).await.expect(204);
    shop.post("/api/v1/members/verify").json(&json!({"token": "x"})).await.refused(410, "link-invalid");
    shop.log_in(&email, PASSWORD).await.expect(201);

    shop.post("/api/v1/password-resets").json(&json!({"email": email})).await.expect(202);
    let token = shop.mailed_token(&email, "/password-resets/confirm").await;
    let new = json!({"token": token, "password": "another fine pass phrase"});
    shop.post("/api/v1/password-resets/confirm").json(&new).await.expect(204);
    shop.log_in(&email, PASSWORD).await.refused(401, "invalid-credentials");
    shop.log_in(&email, "another fine pass phrase").await.expect(201);

    let nobody = json!({"email": format!("{}@members.example", unique("nobody"))});
    shop.post("/api/v1/password-resets").json(&nobody).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_14_a_session_is_an_access_token_for_every_service_and_a_refresh_token_that_rotates() {
    let shop = Shop::open().await;
    let member = shop.sign_up("buyer").await;
    let session = shop.log_in(&member.email, PASSWORD).await.expect(201);
    let access = session["access_token"].as_str().unwrap();
    for path in [
        "/api/v1/me",
        "/api/v1/likes",
        "/api/v1/orders",
        "/api/v1/payment-methods",
        "/api/v1/addresses",
        "/api/v1/products?seller=me",
    ] {
        shop.get(path).bearer(access).await.expect(200);
    }
    let refresh = async |token: &str| {
        shop.post("/api/v1/sessions/refresh").json(&json!({"refresh_token": token})).await
    };
    let first = session["refresh_token"].as_str().unwrap();
    let second = refresh(first).await.expect(200);
    assert_ne!(second["refresh_token"], session["refresh_token"], "it rotates");
    let third = refresh(second["refresh_token"].as_str().unwrap()).await.expect(200);

    assert_eq!(refresh(first).await.status, 401, "a token from two rotations ago is a thief's");
    let newest = third["refresh_token"].as_str().unwrap();
    assert_eq!(refresh(newest).await.status, 401, "and ends the whole family");

    let session = shop.log_in(&member.email, PASSWORD).await.expect(201);
    let access = session["access_token"].as_str().unwrap();
    shop.delete("/api/v1/sessions/current").bearer(access).await.expect(204);
    assert_eq!(refresh(session["refresh_token"].as_str().unwrap()).await.status, 401, "logged out");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_members_see_and_change_their_profile() {
    let shop = Shop::open().await;
    let member = shop.buyer().await;
    let me = shop.get("/api/v1/me").by(&member).await.expect(200);
    assert_eq!((&me["id"], &me["email"]), (&json!(member.id), &json!(member.email)));
    shop.patch("/api/v1/me").by(&member).json(&json!({"name": "그레이스"})).await.expect(200);
    assert_eq!(shop.get("/api/v1/me").by(&member).await.expect(200)["name"], "그레이스");
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_no_service_takes_a_token_seconds_after_its_member_has_logged_out_everywhere() {
    let shop = Shop::open().await;
    let member = shop.sign_up("seller").await;
    let paths =
        ["/api/v1/me", "/api/v1/likes", "/api/v1/orders", "/api/v1/payment-methods", "/api/v1/addresses"];
    for path in paths {
        shop.get(path).by(&member).await.expect(200);
    }
    shop.delete("/api/v1/sessions").by(&member).await.expect(204);
    for path in paths {
        eventually(&format!("{path} refuses the token"), async || {
            (shop.get(path).by(&member).await.status == 401).then_some(())
        })
        .await;
        shop.get(path).by(&member).await.refused(401, "session-ended");
    }
}
