use reqwest::Method;

use crate::shop::{Session, Shop};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_is_given_again_for_a_moment_m2() {
    let shop = Shop::open().await;
    let first = shop.join("ada@example.com").await;
    let lost = Session::from(&shop.refresh(&first.refresh).await.expect(200));
    let repeated = Session::from(&shop.refresh(&first.refresh).await.expect(200));
    assert_eq!(lost.refresh, repeated.refresh, "one chain, not two");
    let (other, _stop) = shop.another_replica().await;
    let body = serde_json::json!({"refresh_token": first.refresh});
    let elsewhere = reqwest::Client::new().post(format!("{other}/api/v1/sessions/refresh")).json(&body);
    let elsewhere = Session::from(&crate::shop::answer(elsewhere).await.expect(200));
    assert_eq!(lost.refresh, elsewhere.refresh, "whichever replica is asked");
    shop.get("/api/v1/me", &repeated.access).await.expect(200);
    shop.refresh(&repeated.refresh).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_has_one_living_refresh_token_and_none_is_stored_m2() {
    let shop = Shop::open().await;
    let first = shop.join("ada@example.com").await;
    let mut newest = first.refresh.clone();
    for _ in 0..3 {
        let (one, two) = tokio::join!(shop.refresh(&newest), shop.refresh(&newest));
        newest = Session::from(&one.expect(200)).refresh;
        assert_eq!(newest, Session::from(&two.expect(200)).refresh);
    }
    let living: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT hash FROM refresh_tokens WHERE replaced_at IS NULL")
        .fetch_all(&shop.db)
        .await
        .unwrap();
    assert_eq!(living.len(), 1);
    let (stored,): (String,) = sqlx::query_as("SELECT string_agg(t::text, ' ') FROM refresh_tokens t")
        .fetch_one(&shop.db)
        .await
        .unwrap();
    assert!(!stored.contains(&newest), "what is stored opens nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_however_often_it_is_refreshed_m3() {
    let shop = Shop::open().await;
    let first = shop.join("ada@example.com").await;
    // Ten seconds before its 90 days are over: nothing issued now outlives them.
    shop.execute(
        "UPDATE sessions SET created_at = now() - interval '90 days' + interval '10 seconds', tokens_until = now()",
    )
    .await;
    let renewed = shop.refresh(&first.refresh).await.expect(200);
    assert!(renewed["expires_in"].as_i64().unwrap() <= 10, "{renewed}");
    let (within,): (bool,) = sqlx::query_as(
        "SELECT bool_and(expires_at <= now() + interval '10 seconds' AND tokens_until <= expires_at) FROM sessions",
    )
    .fetch_one(&shop.db)
    .await
    .unwrap();
    assert!(within);
    shop.execute("UPDATE sessions SET created_at = now() - interval '90 days'").await;
    let renewed = Session::from(&renewed);
    shop.refresh(&renewed.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.log_in("ada@example.com").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_refresh_token_ends_its_session() {
    let shop = Shop::open().await;
    let first = shop.join("ada@example.com").await;
    let elsewhere = shop.log_in("ada@example.com").await;
    let second = Session::from(&shop.refresh(&first.refresh).await.expect(200));
    shop.execute("UPDATE refresh_tokens SET replaced_at = replaced_at - interval '11 seconds'").await;

    shop.refresh(&first.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.refresh(&second.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.get("/api/v1/me", &second.access).await.expect_problem(401, "session-ended");
    shop.refresh(&elsewhere.refresh).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_used_the_replacement_did_not_lose_it() {
    let shop = Shop::open().await;
    let first = shop.join("ada@example.com").await;
    let second = Session::from(&shop.refresh(&first.refresh).await.expect(200));
    let third = Session::from(&shop.refresh(&second.refresh).await.expect(200));
    // Within the ten seconds, but not a lost response.
    shop.refresh(&first.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.refresh(&third.refresh).await.expect_problem(401, "refresh-token-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_presented_many_times_at_once_upsets_nothing() {
    let shop = Shop::open().await;
    let session = shop.join("ada@example.com").await;
    let tabs = (0..8).map(|_| shop.refresh(&session.refresh));
    let mut renewed = Vec::new();
    for answer in futures::future::join_all(tabs).await {
        renewed.push(Session::from(&answer.expect(200)));
    }
    shop.refresh(&renewed[3].refresh).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_refresh_token_is_refused_and_accuses_nobody() {
    let shop = Shop::open().await;
    let first = shop.join("ada@example.com").await;
    shop.refresh("made-up").await.expect_problem(401, "refresh-token-invalid");
    let second = Session::from(&shop.refresh(&first.refresh).await.expect(200));
    shop.execute("UPDATE refresh_tokens SET expires_at = now() WHERE replaced_at IS NOT NULL").await;
    shop.refresh(&first.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.refresh(&second.refresh).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_everywhere_ends_every_session_of_the_member_alone() {
    let shop = Shop::open().await;
    let here = shop.join("ada@example.com").await;
    let there = shop.log_in("ada@example.com").await;
    let bob = shop.join("bob@example.com").await;
    shop.send(Method::DELETE, "/api/v1/sessions", Some(&here.access), None).await.expect(204);
    for session in [&here, &there] {
        shop.refresh(&session.refresh).await.expect_problem(401, "refresh-token-invalid");
    }
    shop.refresh(&bob.refresh).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_refreshes_what_another_opened() {
    let shop = Shop::open().await;
    let session = shop.join("ada@example.com").await;
    let (other, _stop) = shop.another_replica().await;
    let body = serde_json::json!({"refresh_token": session.refresh});
    let url = format!("{other}/api/v1/sessions/refresh");
    let answer = crate::shop::answer(reqwest::Client::new().post(url).json(&body)).await;
    let renewed = Session::from(&answer.expect(200));
    shop.get("/api/v1/me", &renewed.access).await.expect(200);
}
