//! A service's OpenAPI description as we serve it: what the handlers say, and what the frame around them adds
//! to every operation.
//!
//! A handler describes its own answers. What any request may run into (a query that breaks a rule, a body
//! that is too large, a service that is overloaded) is described here, once, as the `default` answer.

use std::collections::BTreeMap;

use http::StatusCode;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::ArrayItems;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Array, Components, Content, OpenApi, Ref, RefOr, Response, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::{PROBLEM_JSON, Problem};

const JSON: &str = "application/json";

/// The description to serve: with the access token that `security(("bearer" = []))` refers to, and with
/// problems wherever we may refuse a request.
pub fn published(mut description: OpenApi) -> OpenApi {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    for operation in description.paths.paths.values_mut().flat_map(operations) {
        refuse_with_problems(operation);
    }
    let components = description.components.get_or_insert_default();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(scheme).into());
    describe_problems(components);
    open_what_is_extended(components);
    description
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.put, &mut path.post, &mut path.patch, &mut path.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// Problems are `application/problem+json` whatever the handler called them, and we may refuse anything.
fn refuse_with_problems(operation: &mut Operation) {
    let problem = || Content::new(Some(Ref::from_schema_name("Problem")));
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(Response { content, description, .. }) = response else { continue };
        // OpenAPI requires a description for every answer, and most just say what their status says.
        if description.is_empty() {
            reason(status).clone_into(description);
        }
        if content.get(JSON).is_some_and(is_a_problem) {
            content.shift_remove(JSON);
            content.insert(PROBLEM_JSON.to_owned(), problem().into());
        }
    }
    operation.responses.responses.entry("default".to_owned()).or_insert_with(|| {
        let refused = ResponseBuilder::new()
            .description("Refused, or not possible at the moment")
            .content(PROBLEM_JSON, problem());
        refused.build().into()
    });
}

/// HTTP's name for a status.
fn reason(status: &str) -> &'static str {
    let known = status.parse().ok().and_then(|status: StatusCode| status.canonical_reason());
    known.unwrap_or("Answered")
}

fn is_a_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(reference)), .. }) = content else { return false };
    referred(reference) == Problem::name()
}

fn referred(reference: &Ref) -> &str {
    reference.ref_location.rsplit('/').next().unwrap_or_default()
}

fn describe_problems(components: &mut Components) {
    let mut needed = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut needed);
    components.schemas.extend(needed);
}

/// A body that refuses unknown fields may be part of a larger answer, whose other fields are not unknown.
/// There we repeat its schema without the refusal.
fn open_what_is_extended(components: &mut Components) {
    let closed: BTreeMap<String, Schema> = components
        .schemas
        .iter()
        .filter_map(|(name, schema)| match schema {
            RefOr::T(Schema::Object(object)) if object.additional_properties.is_some() => {
                let mut open = object.clone();
                open.additional_properties = None;
                Some((name.clone(), Schema::Object(open)))
            }
            _ => None,
        })
        .collect();
    for schema in components.schemas.values_mut() {
        open(schema, &closed);
    }
}

/// Opens the parts of every combination in `schema`, at any depth.
fn open(schema: &mut RefOr<Schema>, closed: &BTreeMap<String, Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::AllOf(combination) => {
            for part in &mut combination.items {
                match part {
                    RefOr::Ref(reference) => {
                        if let Some(opened) = closed.get(referred(reference)) {
                            *part = opened.clone().into();
                        }
                    }
                    RefOr::T(_) => open(part, closed),
                }
            }
        }
        Schema::OneOf(choice) => choice.items.iter_mut().for_each(|item| open(item, closed)),
        Schema::AnyOf(choice) => choice.items.iter_mut().for_each(|item| open(item, closed)),
        Schema::Object(object) => object.properties.values_mut().for_each(|field| open(field, closed)),
        Schema::Array(Array { items: ArrayItems::RefOrSchema(items), .. }) => open(items, closed),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};
    use utoipa::OpenApi;

    use super::*;

    #[derive(serde::Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        title: String,
    }

    #[derive(Serialize, ToSchema)]
    struct Granted {
        id: u32,
        #[serde(flatten)]
        wish: Wish,
    }

    #[derive(Serialize, ToSchema)]
    struct Page<T: ToSchema> {
        data: Vec<T>,
    }

    #[utoipa::path(post, path = "/wishes", request_body = Wish,
        responses((status = 201, body = Granted), (status = 200, body = Page<Granted>), (status = 409, body = Problem)))]
    #[expect(dead_code, reason = "only its description is looked at")]
    fn wish() {}

    #[derive(OpenApi)]
    #[openapi(paths(wish), components(schemas(Wish, Granted, Page<Granted>)))]
    struct Described;

    fn described() -> Value {
        serde_json::to_value(published(Described::openapi())).unwrap()
    }

    #[test]
    fn a_problem_is_of_its_own_media_type_and_any_request_may_meet_one() {
        let responses = &described()["paths"]["/wishes"]["post"]["responses"];
        for status in ["409", "default"] {
            let content = responses[status]["content"].as_object().unwrap();
            assert_eq!(content.keys().collect::<Vec<_>>(), [PROBLEM_JSON], "{status}");
        }
        assert!(responses["201"]["content"][JSON].is_object());
        assert_eq!(responses["201"]["description"], "Created");
    }

    #[test]
    fn a_problem_always_has_what_rfc_9457_names_and_errors_only_when_fields_are_wrong() {
        let problem = &described()["components"]["schemas"]["Problem"];
        assert_eq!(problem["required"], json!(["type", "title", "status", "code"]));
    }

    #[test]
    fn a_body_that_is_part_of_a_larger_answer_does_not_forbid_the_rest_of_it() {
        let schemas = &described()["components"]["schemas"];
        assert_eq!(schemas["Wish"]["additionalProperties"], false);
        let listed = &schemas["Page_Granted"]["properties"]["data"]["items"];
        for granted in [&schemas["Granted"], listed] {
            let parts = granted["allOf"].as_array().unwrap();
            assert!(
                parts.iter().all(|part| part["$ref"].is_null() && part["additionalProperties"].is_null())
            );
        }
    }
}
