use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use rocketmart_kit::extract::Json;
use rocketmart_kit::problem::Result;
use rocketmart_kit::service::{Bound, Service};
use rocketmart_kit::trace;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::support::{any_port, eventually};

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Thing {
    name: String,
}

#[utoipa::path(post, path = "/things", request_body = Thing, responses((status = 200, body = Thing)), security(("bearer" = [])))]
async fn create(Json(thing): Json<Thing>) -> Result<Json<Thing>> {
    Ok(Json(thing))
}

#[utoipa::path(get, path = "/trace", responses((status = 200)))]
async fn current_trace() -> String {
    trace::current().unwrap().to_string()
}

#[utoipa::path(get, path = "/panic", responses((status = 200)))]
async fn panics() {
    panic!("a bug");
}

#[utoipa::path(get, path = "/slow", responses((status = 200)))]
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "done"
}

pub(crate) fn service() -> Service {
    let api = OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(current_trace))
        .routes(routes!(panics))
        .routes(routes!(slow));
    Service::new("test", &any_port()).api(api)
}

pub(crate) struct Running {
    pub(crate) bound: Bound,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    http: reqwest::Client,
}

impl Running {
    pub(crate) async fn start(service: Service) -> Self {
        let stop = CancellationToken::new();
        let (tell, bound) = oneshot::channel();
        let task = tokio::spawn(service.run_until(stop.clone(), |bound| tell.send(bound).unwrap()));
        Self { bound: bound.await.unwrap(), stop, task, http: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("http://{}{path}", self.bound.api)).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: String) -> reqwest::Response {
        let request = self.http.post(format!("http://{}{path}", self.bound.api));
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    }

    async fn admin(&self, path: &str) -> (u16, String) {
        let response = self.http.get(format!("http://{}{path}", self.bound.admin)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn problem(response: reqwest::Response) -> (u16, String) {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    (status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_failure_is_a_problem() {
    let running = Running::start(service()).await;
    let of = |status, code: &str| (status, code.to_owned());
    assert_eq!(problem(running.get("/nowhere").await).await, of(404, "route-unknown"));
    let wrong_method = running.get("/things").await;
    assert_eq!(wrong_method.headers()["allow"], "POST");
    assert_eq!(problem(wrong_method).await, of(405, "method-not-allowed"));
    let unknown_field = running.post("/things", r#"{"name":"x","size":1}"#.to_owned()).await;
    assert_eq!(problem(unknown_field).await, of(422, "validation-failed"));
    let large = running.post("/things", format!(r#"{{"name":"{}"}}"#, "x".repeat(1024 * 1024))).await;
    assert_eq!(problem(large).await, of(413, "body-too-large"));
    assert_eq!(problem(running.get("/panic").await).await, of(500, "internal"));
    // Still there after the panic.
    assert_eq!(running.post("/things", r#"{"name":"x"}"#.to_owned()).await.status(), 200);
    running.stop().await.unwrap();
    let hasty = Running::start(service().request_timeout(Duration::from_millis(300))).await;
    assert_eq!(problem(hasty.get("/slow").await).await, of(503, "request-timeout"));
    hasty.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_still_sending_too_much_gets_the_answer() {
    let running = Running::start(service()).await;
    for _ in 0..10 {
        let large = running.post("/things", "x".repeat(8 * 1024 * 1024)).await;
        assert_eq!(problem(large).await, (413, "body-too-large".to_owned()));
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn answers_carry_request_id_and_security_headers() {
    let running = Running::start(service()).await;
    let response = running.get("/trace").await;
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(response.headers()["x-request-id"].len(), 32);

    let url = format!("http://{}/trace", running.bound.api);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = running.http.get(url).header("x-request-id", "mine-1").header("traceparent", traceparent);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    assert!(response.text().await.unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_api_describes_itself() {
    let running = Running::start(service()).await;
    let description: Value = running.get("/openapi.json").await.json().await.unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(description["paths"]["/things"]["post"].is_object());
    assert_eq!(description["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert!(running.get("/docs/").await.text().await.unwrap().contains("swagger"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let running = Running::start(service().ready("kafka", move || {
        let open = gate.load(Ordering::Relaxed);
        async move {
            ensure!(open, "no broker answers");
            Ok(())
        }
    }))
    .await;
    let (status, body) = running.admin("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        serde_json::json!({ "ready": false, "missing": [{ "name": "kafka", "reason": "no broker answers" }] })
    );
    assert_eq!(running.admin("/livez").await.0, 200);
    open.store(true, Ordering::Relaxed);
    assert_eq!(running.admin("/readyz").await.0, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_part_of_the_work_waits_for_is_named_and_leaves_the_process_ready() {
    let running = Running::start(service().degrades("smtp", async || Err(anyhow!("refused")))).await;
    let (status, body) = running.admin("/readyz").await;
    assert_eq!(status, 200);
    let report: Value = serde_json::from_str(&body).unwrap();
    let degraded = serde_json::json!([{ "name": "smtp", "reason": "refused" }]);
    assert_eq!(
        report,
        serde_json::json!({ "ready": true, "missing": [], "degraded": degraded }),
        "a client that knows of `missing` alone reads it as before"
    );
    running.stop().await.unwrap();
}

#[tokio::test]
async fn requests_are_measured_by_route() {
    rocketmart_kit::telemetry::init("test");
    let running = Running::start(service()).await;
    running.post("/things", r#"{"name":"x"}"#.to_owned()).await;
    running.get("/what-a-scanner-looks-for").await;
    let (_, metrics) = running.admin("/metrics").await;
    let line = metrics.lines().find(|line| {
        line.starts_with("http_request_seconds_count")
            && line.contains(r#"route="/things""#)
            && line.contains("2xx")
    });
    assert!(line.is_some(), "{metrics}");
    assert!(!metrics.contains("scanner"), "paths of callers must not become label values");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_failing_task_ends_the_process_with_its_error() {
    let running = Running::start(service().task("publisher", async |_| Err(anyhow!("misconfigured")))).await;
    let error = running.task.await.unwrap().unwrap_err();
    assert_eq!(format!("{error:#}"), "task publisher failed: misconfigured");
}

#[tokio::test]
async fn stopping_fails_readiness_and_finishes_what_runs() {
    let finished = Arc::new(AtomicBool::new(false));
    let mark = finished.clone();
    let running = Running::start(service().task("consumer", async move |stop: CancellationToken| {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        mark.store(true, Ordering::SeqCst);
        Ok(())
    }))
    .await;
    let url = format!("http://{}/slow", running.bound.api);
    let http = running.http.clone();
    let in_flight = tokio::spawn(async move { http.get(url).send().await.unwrap().text().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.stop.cancel();
    eventually("readiness fails first", async || running.admin("/readyz").await.0 == 503).await;
    assert!(!running.task.is_finished());
    assert_eq!(in_flight.await.unwrap(), "done");
    running.stop().await.unwrap();
    assert!(finished.load(Ordering::SeqCst), "the task was not waited for");
}
