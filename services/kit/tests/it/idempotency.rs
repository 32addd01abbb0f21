use std::time::Duration;

use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use rocketmart_kit::extract::IdempotencyKey;
use rocketmart_kit::idempotency::{REPLAYED, once, request_hash};
use rocketmart_kit::problem::{Problem, Result};
use sqlx::{Executor, PgPool};
use uuid::Uuid;

use crate::support::{database, eventually};

struct Caller {
    pool: PgPool,
    owner: Uuid,
    /// How long a request takes once it has written.
    pause: Duration,
}

impl Caller {
    async fn new() -> Self {
        let pool = database().await;
        pool.execute("CREATE TABLE addresses (id uuid PRIMARY KEY, street text NOT NULL)").await.unwrap();
        Self { pool, owner: Uuid::now_v7(), pause: Duration::ZERO }
    }

    /// One whose requests take long enough for others to meet them.
    async fn slow() -> Self {
        Self { pause: Duration::from_secs(3), ..Self::new().await }
    }

    /// POST /addresses: inserts a row, then fails if `fail` says so.
    async fn create(&self, key: &str, street: &'static str, fail: bool) -> Result<Response> {
        let key = IdempotencyKey(key.to_owned());
        let hash = request_hash(&street);
        let pause = self.pause;
        once(&self.pool, self.owner, "POST /addresses", &key, hash, move |connection| {
            Box::pin(async move {
                let id = Uuid::now_v7();
                sqlx::query("INSERT INTO addresses VALUES ($1, $2)")
                    .bind(id)
                    .bind(street)
                    .execute(connection)
                    .await?;
                tokio::time::sleep(pause).await;
                if fail {
                    return Err(Problem::conflict("too-many-addresses", "at most 20"));
                }
                let location = [("location", format!("/addresses/{id}"))];
                Ok((StatusCode::CREATED, location, id.to_string()).into_response())
            })
        })
        .await
    }

    async fn addresses(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM addresses").fetch_one(&self.pool).await.unwrap()
    }
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_and_does_nothing() {
    let caller = Caller::new().await;
    let first = caller.create("k", "High Street", false).await.unwrap();
    let again = caller.create("k", "High Street", false).await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(again.status(), StatusCode::CREATED);
    assert!(!first.headers().contains_key(REPLAYED));
    assert!(again.headers().contains_key(REPLAYED));
    assert_eq!(first.headers()["location"], again.headers()["location"]);
    assert_eq!(text(first).await, text(again).await);
    assert_eq!(caller.addresses().await, 1);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let caller = Caller::new().await;
    caller.create("k", "High Street", false).await.unwrap();
    let problem = caller.create("k", "Low Street", false).await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.code), (422, "idempotency-key-reused"));
    assert_eq!(caller.addresses().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn repetitions_one_after_another_are_never_told_that_one_still_runs() {
    let caller = Caller::new().await;
    caller.create("k", "High Street", false).await.unwrap();
    for n in 0..100 {
        let other = caller.create("k", "Low Street", false).await.unwrap_err();
        assert_eq!(other.code, "idempotency-key-reused", "after {n} repetitions");
        let again = caller.create("k", "High Street", false).await;
        assert!(again.is_ok(), "after {n} repetitions: {again:?}");
    }
}

#[tokio::test]
async fn while_the_first_runs_a_second_is_told_so() {
    let caller = Caller::slow().await;
    let (one, two) =
        tokio::join!(caller.create("k", "High Street", false), caller.create("k", "High Street", false));
    let (ok, refused) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(ok.unwrap().status(), StatusCode::CREATED);
    assert_eq!(refused.unwrap_err().code, "request-in-progress");
    assert_eq!(caller.addresses().await, 1);
}

#[tokio::test]
async fn a_failure_undoes_its_work_and_leaves_the_key_free() {
    let caller = Caller::new().await;
    let problem = caller.create("k", "High Street", true).await.unwrap_err();
    assert_eq!(problem.code, "too-many-addresses");
    assert_eq!(caller.addresses().await, 0);
    assert_eq!(caller.create("k", "High Street", false).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(caller.addresses().await, 1);
}

#[tokio::test]
async fn a_request_that_is_dropped_half_way_leaves_nothing_behind() {
    let mut caller = Caller::slow().await;
    let cut_off =
        tokio::time::timeout(Duration::from_millis(500), caller.create("k", "High Street", false)).await;
    assert!(cut_off.is_err());
    caller.pause = Duration::ZERO;
    // The connection is rolled back when it returns to the pool.
    eventually("the key is free", async || {
        let again = caller.create("k", "High Street", false).await;
        again.is_ok_and(|answer| answer.status() == StatusCode::CREATED)
    })
    .await;
    assert_eq!(caller.addresses().await, 1);
}

#[tokio::test]
async fn keys_of_different_owners_do_not_meet() {
    let mut caller = Caller::new().await;
    caller.create("k", "High Street", false).await.unwrap();
    caller.owner = Uuid::now_v7();
    caller.create("k", "Low Street", false).await.unwrap();
    assert_eq!(caller.addresses().await, 2);
}
