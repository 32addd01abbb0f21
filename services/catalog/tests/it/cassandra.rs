//! What is left behind when a replica dies half-way, and what becomes of it. PostgreSQL leaves nothing
//! behind. Here we play through each step that can be the last one, by writing what it wrote.

use std::io;

use futures::future::join_all;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::serialize::row::SerializeRow;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use crate::events::Listener;
use crate::shop::{Shop, args_on_cassandra, mug, shared_kafka, sku, variant};

/// A session behind the catalog's back.
async fn behind(shop: &Shop) -> Session {
    let config = shop.cassandra();
    SessionBuilder::new()
        .known_nodes(&config.cassandra_contact_points)
        .use_keyspace(&config.cassandra_keyspace, false)
        .build()
        .await
        .unwrap()
}

async fn run(session: &Session, statement: &str, values: impl SerializeRow) {
    session.query_unpaged(statement, values).await.unwrap();
}

async fn count(session: &Session, statement: &str, values: impl SerializeRow) -> usize {
    session.query_unpaged(statement, values).await.unwrap().into_rows_result().unwrap().rows_num()
}

/// Writes version 2 of a product, as a replica that died before it published it. Returns the product's id.
async fn write_unpublished(session: &Session, id: &str) -> Uuid {
    let event = json!({ "id": "lost", "time": "2026-01-01T00:00:00Z", "data": { "version": 2 } }).to_string();
    let product = id.parse().unwrap();
    let write = "UPDATE products SET version = 2, pending[2] = ? WHERE id = ? IF version = 1";
    run(session, write, (&event, product)).await;
    product
}

fn selling(sku: &str) -> Value {
    let mut product = mug();
    product["variants"] = json!([variant(sku, 100)]);
    product
}

fn ago(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() - Duration::seconds(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_the_same_time_make_one_schema() {
    let args = args_on_cassandra(shared_kafka().await).await;
    let shops = join_all((0..4).map(|_| Shop::open(args.clone()))).await;
    let session = behind(&shops[0]).await;
    assert_eq!(count(&session, "SELECT number FROM migrations", ()).await, 2);
    let id = shops[0].seller().published(&mug()).await.id();
    for shop in &shops {
        shop.stranger().get(&format!("/api/v1/products/{id}")).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_claimed_by_a_publication_that_died_is_free_after_its_lease() {
    let shop = Shop::on_cassandra().await;
    let session = behind(&shop).await;
    let seller = shop.seller();
    let insert = "INSERT INTO skus (sku, product_id, claim, claimed_at) VALUES (?, ?, ?, ?) IF NOT EXISTS";
    let (young, old, lost) = (sku(), sku(), Uuid::now_v7());
    run(&session, insert, (&young, Uuid::now_v7(), Uuid::new_v4(), ago(1))).await;
    run(&session, insert, (&old, lost, Uuid::new_v4(), ago(3600))).await;

    let draft = seller.create(&selling(&young)).await.expect(201);
    seller.publish(&draft.id()).await.refused(409, "sku-taken");
    seller.published(&selling(&old)).await;
    // Had the write only been asleep, it would find that it can no longer happen.
    assert_eq!(
        count(&session, "SELECT id FROM products WHERE id = ? AND state = 'void' ALLOW FILTERING", (lost,))
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_that_an_edit_dropped_without_giving_it_up_is_free_and_one_in_use_is_not() {
    let shop = Shop::on_cassandra().await;
    let session = behind(&shop).await;
    let (first, second) = (shop.seller(), shop.seller());
    let (dropped, used) = (sku(), sku());
    let holder = first.published(&selling(&used)).await;
    let holder_id: Uuid = holder.id().parse().unwrap();
    run(
        &session,
        "INSERT INTO skus (sku, product_id, claim, claimed_at) VALUES (?, ?, ?, ?) IF NOT EXISTS",
        (&dropped, holder_id, Uuid::new_v4(), ago(3600)),
    )
    .await;
    run(&session, "UPDATE skus SET claimed_at = ? WHERE sku = ? IF EXISTS", (ago(3600), &used)).await;

    let draft = second.create(&selling(&used)).await.expect(201);
    second.publish(&draft.id()).await.refused(409, "sku-taken");
    second.published(&selling(&dropped)).await;
    // The holder was fenced on the way. That makes no new version, and its seller notices nothing.
    let edited = first.edit(&holder.id(), &holder.etag, &json!({ "title": "Still mine" })).await.expect(200);
    assert_eq!(edited.etag, "\"3\"");
    first.edit(&holder.id(), &edited.etag, &selling_variants(&dropped)).await.refused(409, "sku-taken");
}

fn selling_variants(sku: &str) -> Value {
    json!({ "variants": [variant(sku, 100)] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_cut_off_after_its_key_is_finished_by_its_repetition() {
    let shop = Shop::on_cassandra().await;
    let session = behind(&shop).await;
    let seller = shop.seller();
    let body = mug();
    // The first request stored what it was about to create, and died.
    let made = seller.create_with_key("first", &body).await.expect(201);
    let id: Uuid = made.id().parse().unwrap();
    seller.delete(&format!("/api/v1/products/{id}"), Some(&made.etag)).await.expect(204);
    let copy = "SELECT request_hash, product FROM creations WHERE owner = ? AND key = 'first'";
    let rows = session.query_unpaged(copy, (seller.id,)).await.unwrap().into_rows_result().unwrap();
    let (hash, product): (Vec<u8>, String) = rows.first_row().unwrap();
    let planned = Uuid::now_v7();
    let product = product.replace(&id.to_string(), &planned.to_string());
    let begun = "INSERT INTO creations (owner, key, request_hash, product, started_at) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS";
    run(&session, begun, (seller.id, "cut-off", &hash, &product, ago(3600))).await;
    run(&session, begun, (seller.id, "running", &hash, &product, ago(1))).await;

    seller.create_with_key("running", &body).await.refused(409, "request-in-progress");
    seller.create_with_key("cut-off", &mug()).await.refused(422, "idempotency-key-reused");
    let finished = seller.create_with_key("cut-off", &body).await.expect(201);
    assert_eq!(finished.id(), planned.to_string(), "what the first request had decided");
    let again = seller.create_with_key("cut-off", &body).await.expect(201);
    assert_eq!(again.body, finished.body);
    assert_eq!(seller.get("/api/v1/products?seller=me").await.each("id"), [Value::from(planned.to_string())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_made_by_a_request_that_never_answered_is_not_made_again() {
    let shop = Shop::on_cassandra().await;
    let session = behind(&shop).await;
    let seller = shop.seller();
    let body = mug();
    let made = seller.create_with_key("once", &body).await.expect(201);
    // As if the replica had died before it stored the answer.
    let unanswered = "UPDATE creations SET status = null, headers = null, body = null, started_at = ? \
                      WHERE owner = ? AND key = 'once' IF EXISTS";
    run(&session, unanswered, (ago(3600), seller.id)).await;
    let repeated = seller.create_with_key("once", &body).await.expect(201);
    assert_eq!(repeated.body, made.body);
    assert_eq!(seller.get("/api/v1/products?seller=me").await.each("id").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_publisher_died_is_published_by_the_next_one() {
    let shop = Shop::on_cassandra().await;
    let seller = shop.seller();
    let id = seller.create(&mug()).await.expect(201).id();
    let listener = Listener::of(&shop);
    assert_eq!(listener.next().await.data["version"], 1);
    shop.mark_topic().await;
    let session = behind(&shop).await;
    let args = shop.replica_args();
    drop(shop);
    // A version was written an hour ago, and nobody was left to publish it.
    let product = write_unpublished(&session, &id).await;
    let marked_at = ago(3600);
    let half_minute = i64::try_from(marked_at.unix_timestamp_nanos() / 1_000_000 / 30_000).unwrap();
    run(
        &session,
        "INSERT INTO changed (half_minute, marked_at, product_id, version) VALUES (?, ?, ?, 2)",
        (half_minute, marked_at, product),
    )
    .await;
    run(&session, "UPDATE progress SET settled_until = ? WHERE name = 'catalog-publisher'", (ago(7200),))
        .await;

    let _next = Shop::open(args).await;
    let heard = listener.next().await;
    assert_eq!((heard.key, heard.data), (id, json!({ "version": 2 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_note_is_found_by_the_sweep() {
    let shop = Shop::on_cassandra().await;
    let seller = shop.seller();
    let id = seller.create(&mug()).await.expect(201).id();
    let listener = Listener::of(&shop);
    assert_eq!(listener.next().await.data["version"], 1);
    shop.mark_topic().await;
    let session = behind(&shop).await;
    let args = shop.replica_args();
    drop(shop);
    write_unpublished(&session, &id).await;
    run(&session, "UPDATE progress SET swept_at = ? WHERE name = 'catalog-publisher'", (ago(2 * 86_400),))
        .await;

    let _next = Shop::open(args).await;
    assert_eq!(listener.next().await.data, json!({ "version": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_cassandra_hangs_requests_are_refused_and_afterwards_all_is_as_it_was_answered() {
    let mut args = args_on_cassandra(shared_kafka().await).await;
    let node = &mut args.store.cassandra.cassandra_contact_points[0];
    let line = Line::to(node.clone()).await;
    node.clone_from(&line.address);
    let shop = Shop::open(args).await;
    let seller = shop.seller();
    let created = seller.create(&mug()).await.expect(201);
    let id = created.id();
    let path = format!("/api/v1/products/{id}");

    line.holds.send(true).unwrap();
    let edit = json!({ "title": "Perhaps" });
    let (unknown, read) = tokio::join!(seller.edit(&id, &created.etag, &edit), seller.get(&path));
    assert_eq!(unknown.status, 503, "{:#}", unknown.body);
    read.refused(503, "database-unavailable");
    line.holds.send(false).unwrap();

    // Perhaps it was made after all: then repeating it is a conflict, and the product shows it.
    let repeated = loop {
        let repeated = seller.edit(&id, &created.etag, &edit).await;
        if repeated.status != 503 {
            break repeated;
        }
        sleep(std::time::Duration::from_millis(200)).await;
    };
    assert!([200, 412].contains(&repeated.status), "{:#}", repeated.body);
    let product = seller.get(&path).await.expect(200);
    assert_eq!((&product.body["title"], &product.body["version"]), (&json!("Perhaps"), &json!(2)));
}

/// The line to a node. While it holds, what is sent stays on the way; nothing is lost.
struct Line {
    address: String,
    holds: watch::Sender<bool>,
}

impl Line {
    async fn to(node: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (holds, held) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (from_caller, to_caller) = caller.into_split();
                let (from_node, to_node) = TcpStream::connect(&node).await.unwrap().into_split();
                tokio::spawn(carry(from_caller, to_node, held.clone()));
                tokio::spawn(carry(from_node, to_caller, held.clone()));
            }
        });
        Self { address, holds }
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut held: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut part = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut part).await?;
        let is_free = held.wait_for(|held| !held).await.is_ok();
        if length == 0 || !is_free {
            return to.shutdown().await;
        }
        to.write_all(&part[..length]).await?;
    }
}
