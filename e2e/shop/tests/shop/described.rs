//! The one OpenAPI document of the whole shop, behind its entrance.

use serde_json::Value;

use crate::document;
use crate::schemas::{self, Case};

const JSON_SCHEMA: &str = "https://json-schema.org/draft/2020-12/schema";

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_serves_one_document_of_everything_with_a_page_to_try_it() {
    let (shop, services) = document::open().await;
    let document = shop.get("/openapi/shop.json").await.expect(200);
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/shop.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(kept).unwrap()).unwrap();
    assert_eq!(document, kept, "cargo xtask gen");
    for operation in document::operations(&shop, &services).await {
        let method = operation.method.as_str().to_lowercase();
        assert!(document["paths"][&operation.path][method].is_object(), "{} is missing", operation.name);
    }
    let page = shop.get("/openapi/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert_eq!(page.header("x-frame-options"), "DENY");
    let settings = shop.get("/openapi/swagger-initializer.js").await;
    assert!(settings.text.contains("/openapi/shop.json"), "{}", settings.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_described_and_every_schema_is_one() {
    let (shop, services) = document::open().await;
    let mut documents = vec![shop.get("/openapi/shop.json").await.expect(200)];
    for service in services {
        let url = format!("{service}/openapi.json");
        documents.push(shop.outside(reqwest::Method::GET, &url).await.expect(200));
    }
    for document in &documents {
        let answers: Vec<(String, &Value)> = answers(document).collect();
        assert!(!answers.is_empty(), "{}", document["info"]["title"]);
        for (place, answer) in answers {
            // OpenAPI requires one, and tools refuse documents without it.
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
        }
    }
    let schemas = documents.iter().flat_map(|document| {
        document["components"]["schemas"].as_object().into_iter().flatten().map(|(name, schema)| Case {
            name: format!("{} of {}", name, document["info"]["title"]),
            schema: {
                let mut schema = schema.clone();
                schema["$schema"] = JSON_SCHEMA.into();
                schema["components"] = document["components"].clone();
                schema
            },
            documents: Vec::new(),
            closed: false,
        })
    });
    schemas::assert_fit(schemas.collect()).await;
}

/// Every answer that a document describes, with its place.
fn answers(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    operations.flat_map(|(path, method, operation)| {
        let answers = operation["responses"].as_object().into_iter().flatten();
        answers.map(move |(status, answer)| (format!("{method} {path}: {status}"), answer))
    })
}
