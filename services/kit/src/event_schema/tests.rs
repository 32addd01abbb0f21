use rocketmart_contracts::component::Component;
use rocketmart_contracts::event::Payload;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Published, Read, incompatibilities, unmet};

#[derive(Serialize, Deserialize, ToSchema)]
struct Paid {
    order_id: Uuid,
    lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    state: State,
    #[serde(flatten)]
    rest: Rest,
}

impl Payload for Paid {
    const TYPE: &'static str = "rocketmart.test.paid.v1";
    const TOPIC: &'static str = "tests";
    const KEY: &'static str = "order id";
    const PRODUCER: Component = Component::OrderWorker;
}

#[derive(Serialize, Deserialize, ToSchema)]
struct Line {
    sku: String,
    quantity: u32,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    Done,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rest {
    #[schema(max_length = 10)]
    currency: String,
}

type Change<'a> = &'a dyn Fn(&mut Value);

fn schema() -> Value {
    Published::of::<Paid>().schema
}

#[test]
fn a_schema_stands_by_itself_and_leaves_room_to_grow() {
    let schema = schema();
    assert_eq!(schema["title"], "rocketmart.test.paid.v1");
    assert_eq!(schema["properties"]["order_id"]["format"], "uuid");
    assert_eq!(schema["properties"]["currency"]["type"], "string", "flattened");
    assert!(schema["$defs"]["Line"].is_object() && schema["$defs"]["Rest"].is_null(), "{schema:#}");
    let text = schema.to_string();
    assert!(!text.contains("components/schemas") && !text.contains("additionalProperties\":false"), "{text}");
    let required = schema["required"].as_array().unwrap();
    assert!(required.contains(&json!("state")) && !required.contains(&json!("note")), "{required:?}");
}

#[test]
fn only_growth_by_optional_fields_and_new_values_is_compatible() {
    let old = schema();
    let after = |change: Change<'_>| {
        let mut new = old.clone();
        change(&mut new);
        incompatibilities(&old, &new)
    };
    let harmless: [Change<'_>; 5] = [
        &|_| {},
        &|new| new["properties"]["hint"] = json!({"type": ["string", "null"]}),
        &|new| new["$defs"]["Line"]["properties"]["colour"] = json!({"type": "string"}),
        &|new| new["$defs"]["State"]["enum"].as_array_mut().unwrap().push("lost".into()),
        &|new| new["properties"]["currency"]["maxLength"] = json!(20),
    ];
    for change in harmless {
        assert_eq!(after(change), Vec::<String>::new());
    }
    let breaking: [(Change<'_>, &str); 11] = [
        (
            &|new| new["properties"]["order_id"]["type"] = json!("integer"),
            "data.order_id: the type was string (uuid)",
        ),
        (&|new| new["properties"]["order_id"]["format"] = json!("date"), "data.order_id: the type was"),
        (&|new| new["properties"] = json!({}), "data.currency: was there and is not"),
        (&|new| new["required"] = json!([]), "data.currency: was always there"),
        (&|new| new["required"].as_array_mut().unwrap().push(json!("note")), "data.note: is required"),
        (
            &|new| {
                new["properties"]["hint"] = json!({"type": "string"});
                new["required"].as_array_mut().unwrap().push(json!("hint"));
            },
            "data.hint: is new and required",
        ),
        (
            &|new| new["$defs"]["Line"]["properties"]["sku"]["type"] = json!("array"),
            "data.lines[].sku: the type",
        ),
        (&|new| new["$defs"]["Line"]["required"] = json!(["sku"]), "data.lines[].quantity: was always"),
        (&|new| new["$defs"]["State"]["enum"] = json!(["open"]), "data.state: \"done\" was among"),
        (
            &|new| new["properties"]["currency"]["maxLength"] = json!(3),
            "data.currency: maxLength was 10 and is 3",
        ),
        (&|new| new["x-topic"] = json!("others"), "its topic was \"tests\" and is \"others\""),
    ];
    for (change, expected) in breaking {
        let found = after(change);
        assert!(found.iter().any(|text| text.starts_with(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn a_reader_of_a_part_may_need_less_than_is_promised_and_never_more() {
    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Needs {
        order_id: Uuid,
        note: Option<String>,
        not_yet: Option<u32>,
        lines: Vec<Line>,
    }
    let reader = Read::part_of::<Paid, Needs>(Component::Search).part.unwrap();
    assert_eq!(unmet(&reader, &schema()), Vec::<String>::new());
    let table: [(Change<'_>, &str); 4] = [
        (
            &|needs| needs["required"].as_array_mut().unwrap().push("note".into()),
            "data.note: is needed and may",
        ),
        (
            &|needs| needs["required"].as_array_mut().unwrap().push("not_yet".into()),
            "data.not_yet: is needed and never",
        ),
        (&|needs| needs["properties"]["order_id"] = json!({"type": "integer"}), "data.order_id: is read as"),
        (
            &|needs| needs["properties"]["state"] = json!({"type": "string", "enum": ["open"]}),
            "data.state: \"done\" is written",
        ),
    ];
    for (change, expected) in table {
        let mut needs = reader.clone();
        change(&mut needs);
        let found = unmet(&needs, &schema());
        assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:#?}");
    }
}
