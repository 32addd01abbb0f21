//! The one OpenAPI document of the whole shop, behind its entrance.

use serde_json::Value;

use crate::document;

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
