//! A running catalog and the people who call it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rocketmart_catalog::api::{self, Args};
use rocketmart_catalog::store::cassandra::CassandraConfig;
use rocketmart_catalog::store::{PostgresConfig, StoreConfig, StoreKind};
use rocketmart_harness::backing::shared;
use rocketmart_kit::auth::{Claims, Role, Verifier};
use rocketmart_kit::config::{AuthConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::kafka::TopicMark;
use rocketmart_kit::request_limits::RequestLimitArgs;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// The example key of RFC 8410.
const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC_KEY: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

/// One replica of a catalog.
pub(crate) struct Shop {
    url: String,
    args: Args,
    _stop: DropGuard,
}

impl Shop {
    /// A catalog of its own in PostgreSQL: empty database, empty topic.
    pub(crate) async fn on_postgres() -> Self {
        Self::open(args_on_postgres(shared_kafka().await).await).await
    }

    /// A catalog of its own in Cassandra: empty keyspace, empty topic.
    pub(crate) async fn on_cassandra() -> Self {
        Self::open(args_on_cassandra(shared_kafka().await).await).await
    }

    pub(crate) async fn open(args: Args) -> Self {
        let jwks = serde_json::from_value(json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "kid": "test", "alg": "EdDSA", "use": "sig", "x": PUBLIC_KEY }
        ]}))
        .unwrap();
        let service = api::service(&args, Verifier::from_jwks(&args.auth, &jwks)).await.unwrap();
        let stop = CancellationToken::new();
        let (bound, is_bound) = oneshot::channel();
        let running = service.run_until(stop.clone(), |at| bound.send(at).unwrap());
        tokio::spawn(async move { running.await.unwrap() });
        let url = format!("http://{}", is_bound.await.unwrap().api);
        Self { url, args, _stop: stop.drop_guard() }
    }

    /// One more replica on the same store and topic.
    pub(crate) async fn another_replica(&self) -> Self {
        Self::open(self.args.clone()).await
    }

    /// The arguments of another replica.
    pub(crate) fn replica_args(&self) -> Args {
        self.args.clone()
    }

    /// Removes what the outbox in PostgreSQL keeps for its readers.
    pub(crate) async fn forget_outbox(&self) {
        let url = self.args.store.postgres.database_url.as_deref().unwrap();
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        sqlx::query("DELETE FROM outbox").execute(&pool).await.unwrap();
    }

    /// Marks the topic as one that has received all products, so that they are not published again.
    pub(crate) async fn mark_topic(&self) {
        TopicMark::new(self.kafka(), "catalog-told", "products").unwrap().set().await.unwrap();
    }

    pub(crate) fn kafka(&self) -> &KafkaConfig {
        &self.args.kafka
    }

    pub(crate) fn cassandra(&self) -> &CassandraConfig {
        &self.args.store.cassandra
    }

    pub(crate) fn seller(&self) -> Caller {
        self.caller(&[Role::Buyer, Role::Seller])
    }

    pub(crate) fn buyer(&self) -> Caller {
        self.caller(&[Role::Buyer])
    }

    pub(crate) fn stranger(&self) -> Caller {
        Caller { id: Uuid::nil(), token: None, ..self.buyer() }
    }

    fn caller(&self, roles: &[Role]) -> Caller {
        let id = Uuid::now_v7();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let claims = Claims {
            sub: id,
            roles: roles.to_vec(),
            sid: Uuid::now_v7(),
            jti: Uuid::now_v7(),
            exp: now + 600,
            iat: now,
            iss: "rocketmart".into(),
            aud: "rocketmart".into(),
        };
        let header = Header { kid: Some("test".into()), ..Header::new(Algorithm::EdDSA) };
        let key = EncodingKey::from_ed_pem(SIGNING_KEY.as_bytes()).unwrap();
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        Caller { id, token: Some(token), url: self.url.clone(), http: reqwest::Client::new() }
    }
}

pub(crate) async fn shared_kafka() -> String {
    tokio::task::spawn_blocking(|| shared::brokers().unwrap()).await.unwrap()
}

/// A new database, and a topic prefix of its own at these brokers.
pub(crate) async fn args_on_postgres(brokers: String) -> Args {
    let database = || shared::create_database("catalog").unwrap();
    let mut args = args(StoreKind::Postgres, brokers);
    args.store.postgres.database_url = Some(tokio::task::spawn_blocking(database).await.unwrap());
    args
}

/// A new keyspace, and a topic prefix of its own at these brokers.
pub(crate) async fn args_on_cassandra(brokers: String) -> Args {
    let node = || shared::contact_point().unwrap();
    let mut args = args(StoreKind::Cassandra, brokers);
    args.store.cassandra.cassandra_contact_points = vec![tokio::task::spawn_blocking(node).await.unwrap()];
    args
}

fn args(catalog_store: StoreKind, kafka_brokers: String) -> Args {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    Args {
        listen: ListenConfig { listen: anywhere, admin_listen: anywhere },
        store: StoreConfig {
            catalog_store,
            postgres: PostgresConfig { database_url: None, database_max_connections: 4 },
            cassandra: CassandraConfig {
                cassandra_contact_points: Vec::new(),
                cassandra_keyspace: format!("catalog_{}", Uuid::new_v4().simple()),
                cassandra_datacenter: "datacenter1".into(),
                cassandra_replication_factor: 1,
                cassandra_user: None,
                cassandra_password: None,
            },
            shop_id: None,
        },
        kafka: KafkaConfig::open(kafka_brokers, format!("{}.", Uuid::new_v4())),
        auth: AuthConfig {
            auth_issuer: "rocketmart".into(),
            auth_audience: "rocketmart".into(),
            auth_jwks_url: None,
            auth_revocations_url: None,
        },
        limits: RequestLimitArgs::default(),
    }
}

/// Someone with or without a token.
#[derive(Clone)]
pub(crate) struct Caller {
    pub id: Uuid,
    token: Option<String>,
    url: String,
    http: reqwest::Client,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub etag: String,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.body["code"], code, "{:#}", answer.body);
        answer
    }

    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }

    /// One member of each of a product's variants.
    pub(crate) fn each_variant(&self, member: &str) -> Vec<Value> {
        self.body["variants"].as_array().unwrap().iter().map(|variant| variant[member].clone()).collect()
    }

    /// One member of each entry of a page.
    pub(crate) fn each(&self, member: &str) -> Vec<Value> {
        self.body["data"].as_array().unwrap().iter().map(|entry| entry[member].clone()).collect()
    }
}

impl Caller {
    /// The same person at another replica.
    pub(crate) fn at(&self, shop: &Shop) -> Self {
        Self { url: shop.url.clone(), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(reqwest::Method::GET, path, &[], None).await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.send(reqwest::Method::PUT, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(reqwest::Method::POST, path, &[], None).await
    }

    pub(crate) async fn create(&self, product: &Value) -> Answer {
        self.create_with_key(&Uuid::new_v4().to_string(), product).await
    }

    pub(crate) async fn create_with_key(&self, key: &str, product: &Value) -> Answer {
        self.send(reqwest::Method::POST, "/api/v1/products", &[("Idempotency-Key", key)], Some(product)).await
    }

    pub(crate) async fn edit(&self, id: &str, etag: &str, edit: &Value) -> Answer {
        self.send(
            reqwest::Method::PATCH,
            &format!("/api/v1/products/{id}"),
            &[("If-Match", etag)],
            Some(edit),
        )
        .await
    }

    pub(crate) async fn delete(&self, path: &str, etag: Option<&str>) -> Answer {
        let if_match: Vec<_> = etag.iter().map(|etag| ("If-Match", *etag)).collect();
        self.send(reqwest::Method::DELETE, path, &if_match, None).await
    }

    pub(crate) async fn publish(&self, id: &str) -> Answer {
        self.post(&format!("/api/v1/products/{id}/publish")).await
    }

    /// A product of this seller that everyone sees.
    pub(crate) async fn published(&self, product: &Value) -> Answer {
        let id = self.create(product).await.expect(201).id();
        self.publish(&id).await.expect(200)
    }

    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request =
            self.http.request(method, format!("{}{path}", self.url)).timeout(Duration::from_secs(20));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let etag = response.headers().get("etag").map_or("", |etag| etag.to_str().unwrap()).to_owned();
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Answer { status, etag, body }
    }
}

/// A valid product with one variant and a new SKU.
pub(crate) fn mug() -> Value {
    json!({
        "title": "Blue mug",
        "description": "Holds 300 ml.",
        "currency": "KRW",
        "categories": ["kitchen"],
        "tags": ["blue"],
        "pictures": ["https://img.example/mug.png"],
        "variants": [variant(&sku(), 12_900)],
    })
}

pub(crate) fn variant(sku: &str, price: i64) -> Value {
    json!({ "sku": sku, "price": price, "quantity": 5, "options": { "colour": "blue" } })
}

pub(crate) fn sku() -> String {
    format!("MUG-{}", Uuid::new_v4().simple())
}
