use reqwest::Method;
use rocketmart_kit::auth::Verifier;
use serde_json::{Value, json};

use crate::shop::{ADMIN, PASSWORD, Session, Shop, auth, token_in};

async fn import(shop: &Shop, admin: &Session, members: Value) -> crate::shop::Answer {
    let body = json!({"members": members});
    shop.send(Method::POST, "/api/v1/admin/members/import", Some(&admin.access), Some(body)).await
}

async fn tokens(shop: &Shop, admin: &Session, ids: Value) -> crate::shop::Answer {
    let body = json!({"member_ids": ids});
    shop.send(Method::POST, "/api/v1/admin/tokens", Some(&admin.access), Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_members_are_imported_and_given_tokens() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let members: Vec<_> = (0..1000)
        .map(|n| json!({"email": format!("shopper{n}@load.example"), "name": format!("Shopper {n}")}))
        .collect();
    let imported = import(&shop, &admin, json!(members)).await.expect(200);
    let imported = imported["members"].as_array().unwrap();
    assert_eq!(imported.len(), 1000);
    assert_eq!(imported[999]["email"], "shopper999@load.example");
    assert_eq!(
        import(&shop, &admin, json!(members)).await.expect(200)["members"],
        json!(imported),
        "idempotent"
    );

    let ids: Vec<_> = imported.iter().map(|member| member["id"].clone()).collect();
    let issued = tokens(&shop, &admin, json!(ids)).await.expect(200);
    assert_eq!(issued["expires_in"], 900);
    let issued = issued["tokens"].as_array().unwrap();
    assert_eq!(issued.len(), 1000);

    let jwks =
        reqwest::get(format!("{}/.well-known/jwks.json", shop.api)).await.unwrap().json().await.unwrap();
    let verifier = Verifier::from_jwks(&auth(), &jwks);
    for (id, token) in ids.iter().zip(issued).step_by(100) {
        assert_eq!(token["member_id"], *id);
        let claims = verifier.verify(token["access_token"].as_str().unwrap()).await.unwrap();
        assert_eq!(json!(claims.sub), *id);
    }
    let me = shop.get("/api/v1/me", issued[7]["access_token"].as_str().unwrap()).await.expect(200);
    assert_eq!((&me["email"], &me["roles"]), (&json!("shopper7@load.example"), &json!(["buyer"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_address_twice_in_one_import_is_one_member() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let members = json!([{"email": "a@x.example", "name": "A"}, {"email": "A@X.example", "name": "B"}]);
    let imported = import(&shop, &admin, members).await.expect(200);
    assert_eq!(imported["members"][0], imported["members"][1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_member_has_no_password_until_a_link_sets_one() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let members = json!([{"email": "a@x.example", "name": "A"}, {"email": "b@x.example", "name": "B"}]);
    import(&shop, &admin, members).await.expect(200);
    for password in ["", PASSWORD] {
        shop.log_in_with("a@x.example", password).await.expect_problem(401, "invalid-credentials");
    }
    shop.post("/api/v1/password-resets", json!({"email": "a@x.example"})).await.expect(202);
    let token = token_in(&shop.mail.wait_for("a@x.example", "Set a new password").await);
    let body = json!({"token": token, "password": PASSWORD});
    shop.post("/api/v1/password-resets/confirm", body).await.expect(204);
    shop.log_in("a@x.example").await;
    // Signing up also proves the address.
    shop.join("b@x.example").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_for_members_who_are_no_administrators_or_for_none() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let me = shop.get("/api/v1/me", &admin.access).await.expect(200)["id"].clone();
    let members = json!([{"email": "a@x.example", "name": "A"}]);
    let known = import(&shop, &admin, members).await.expect(200)["members"][0]["id"].clone();
    let nobody = json!("00000000-0000-4000-8000-000000000000");
    let refused =
        tokens(&shop, &admin, json!([known, nobody, me])).await.expect_problem(422, "validation-failed");
    let fields: Vec<_> =
        refused["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["member_ids[1]", "member_ids[2]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_get_in_and_only_while_they_are() {
    let shop = Shop::open().await;
    let buyer = shop.join("ada@example.com").await;
    let admin = shop.admin().await;
    let members = || json!([{"email": "a@x.example", "name": "A"}]);
    import(&shop, &buyer, members()).await.expect_problem(403, "forbidden");
    import(&shop, &admin, members()).await.expect(200);
    shop.execute("UPDATE members SET roles = ARRAY['buyer'] WHERE 'admin' = ANY (roles)").await;
    import(&shop, &admin, members()).await.expect_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_one_however_many_replicas_start_and_keeps_a_changed_password() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let body = json!({"current_password": ADMIN.1, "new_password": PASSWORD});
    shop.send(Method::PUT, "/api/v1/me/password", Some(&admin.access), Some(body)).await.expect(204);
    let (_first, _second) = tokio::join!(shop.another_replica(), shop.another_replica());
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM members WHERE 'admin' = ANY (roles)")
        .fetch_one(&shop.db)
        .await
        .unwrap();
    assert_eq!(count, 1);
    shop.log_in(ADMIN.0).await;
}
