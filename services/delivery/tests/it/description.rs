//! What the service says about itself.

#[test]
fn the_description_of_the_api_changes_only_on_purpose() {
    insta::assert_json_snapshot!("openapi", rocketmart_delivery::api::openapi());
}
