use std::time::Duration;

use serde_json::json;

use crate::shop::{MailSink, Shop, token_in};

const CONFIRM: &str = "Confirm your e-mail address";

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_down_at_sign_up_gets_the_mail_once_it_is_back() {
    let mut shop = Shop::open().await;
    let smtp = shop.mail.smtp;
    shop.mail.stop().await;
    shop.sign_up("ada@example.com").await.expect(202);
    // The mail was tried in vain at least once, and what is stored contains no link.
    let stored = loop {
        let rows: Vec<(i32, Option<String>, String)> =
            sqlx::query_as("SELECT attempts, last_error, m::text FROM mail_outbox m")
                .fetch_all(&shop.db)
                .await
                .unwrap();
        if let [(1.., Some(_), stored)] = &rows[..] {
            break stored.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!stored.contains("token"), "{stored}");

    shop.mail = MailSink::start(smtp).await;
    let token = token_in(&shop.mail.wait_for("ada@example.com", CONFIRM).await);
    shop.post("/api/v1/members/verify", json!({"token": token})).await.expect(204);
    shop.log_in("ada@example.com").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_replicas_send_each_mail_once() {
    let shop = Shop::open().await;
    let (_first, _second) = tokio::join!(shop.another_replica(), shop.another_replica());
    let emails: Vec<String> = (0..12).map(|n| format!("m{n}@example.com")).collect();
    for email in &emails {
        shop.sign_up(email).await.expect(202);
    }
    for email in &emails {
        shop.mail.wait_for(email, CONFIRM).await;
    }
    for email in &emails {
        assert_eq!(shop.mail.all(email).await.len(), 1, "{email}");
    }
    let (left,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM mail_outbox").fetch_one(&shop.db).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_swept_by_whichever_replica_starts() {
    let shop = Shop::open().await;
    shop.join("ada@example.com").await;
    shop.sign_up("bob@example.com").await.expect(202);
    shop.mail.wait_for("bob@example.com", CONFIRM).await;
    shop.execute("UPDATE sign_ups SET expires_at = now()").await;
    shop.execute("UPDATE sessions SET expires_at = now()").await;
    shop.execute("UPDATE attempts SET resets_at = now()").await;
    // A replica sweeps when it starts, and each minute after.
    let _replicas = tokio::join!(shop.another_replica(), shop.another_replica());
    let swept = async {
        loop {
            let (left,): (i64,) = sqlx::query_as(
                "SELECT (SELECT count(*) FROM sign_ups) + (SELECT count(*) FROM sign_up_tokens)
                      + (SELECT count(*) FROM sessions) + (SELECT count(*) FROM refresh_tokens)
                      + (SELECT count(*) FROM attempts)",
            )
            .fetch_one(&shop.db)
            .await
            .unwrap();
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept).await.expect("everything expired goes");
    shop.log_in("ada@example.com").await;
}
