//! What a hostile client sends.

use serde_json::{Value, json};

/// Items that can fill a list: the smallest possible ones, and one that may be valid.
pub(super) fn items(good: &Value) -> Vec<String> {
    let all = [
        "\"\"".to_owned(),
        "{}".to_owned(),
        good.to_string(),
        "0".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
    ];
    let tried = if super::long() { all.len() } else { 3 };
    all.into_iter().take(tried).collect()
}

/// `body` with nearly `size` bytes: a list of as many items as fit replaces `mark`.
pub(super) fn filled(body: &Value, mark: &str, item: &str, size: usize) -> String {
    let body = body.to_string();
    let room = size - body.len() - "[]".len();
    let items = vec![item; room / (item.len() + 1)].join(",");
    body.replacen(mark, &format!("[{items}]"), 1)
}

/// Bodies that are valid nowhere.
pub(super) fn whole_bodies(good: &Value, size: usize) -> Vec<(&'static str, String)> {
    let room = size - good.to_string().len() - 64;
    let inside = |more: &str| {
        let good = good.to_string();
        format!("{},{more}}}", good.strip_suffix('}').unwrap_or_default())
    };
    let names = |number: usize| format!("\"{number:x}\":0");
    let many = (0..room / 12).map(names).collect::<Vec<_>>().join(",");
    vec![
        ("with an unknown field of the largest size", inside(&format!("\"{}\":0", "n".repeat(room)))),
        ("with as many unknown fields as there can be", inside(&many)),
        ("nested as deeply as there is room", "[".repeat(size)),
        ("nested objects", "{\"a\":".repeat(size / 5)),
        (
            "a list of the good body",
            format!("[{}]", vec![good.to_string(); room / good.to_string().len()].join(",")),
        ),
        ("a text of the largest size", format!("\"{}\"", "x".repeat(size - 2))),
        ("digits", "1".repeat(size)),
        ("NUL bytes", "\0".repeat(size)),
    ]
}

/// Values of nearly `size` bytes, as JSON.
pub(super) fn large_values(size: usize) -> Vec<(&'static str, String)> {
    let members = (0..size / 14).map(|number| format!("\"{number:x}\":\"\"")).collect::<Vec<_>>().join(",");
    let all = vec![
        ("a text of the largest size", format!("\"{}\"", "x".repeat(size - 2))),
        ("an object of many members", format!("{{{members}}}")),
        ("escapes", format!("\"{}\"", "\\u202e".repeat(size / 6 - 1))),
        ("digits", "9".repeat(size)),
        ("lists in lists", format!("{}{}", "[".repeat(size / 2), "]".repeat(size / 2))),
    ];
    super::part(all, 2)
}

/// Nothing to see, or something other than what is there.
pub(super) const UNREADABLE: [&str; 8] = [
    "\u{200b}",
    "\u{2800}",
    "\u{3164}",
    "a\u{202e}b",
    "a\u{2066}b",
    "\u{ad}",
    "\u{e0041}\u{e0042}",
    "a\u{0}b",
];

/// Texts that programs stumble over.
pub(super) fn texts() -> Vec<String> {
    let short = [
        " ",
        "\t\r\n",
        "\u{feff}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{e000}",
        "\u{2028}",
        "\u{85}",
        "\u{7f}",
        "\u{1b}[2J",
        "%00",
        "%s%n",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "' OR '1'='1",
        "\";--",
        "\\",
        "\\u0000",
        "../../etc/passwd",
        "<script>",
        "-1",
        "1e309",
        "NaN",
        "null",
        "undefined",
        "true",
        "=cmd|' /C'!A0",
        "İ",
        "ß",
        "ﬁ",
        "½",
        "\u{1F468}\u{200D}\u{1F469}",
        "Z\u{335}\u{350}\u{351}\u{352}\u{357}\u{30f}",
        "\u{d7ff}",
        "\u{10ffff}",
        "http://a/\u{0}",
        "http://a/\u{202e}",
        "http://[::",
        "http://\u{202e}a/",
        "mailto:a@b",
        "tok_\u{0}",
        "a@b\u{0}.example",
        "a@\u{202e}b.example",
    ];
    let long = ["a\u{301}", "\u{200b}", "👩\u{200d}👩", "\u{fdfa}"].map(|piece| piece.repeat(2_000));
    short.into_iter().map(str::to_owned).chain(long).collect()
}

/// `value` with each of its numbers and texts changed, one at a time.
pub(super) fn changed(value: &Value) -> Vec<Value> {
    let mut all = vec![json!([value]), json!({ "0": value }), json!([value, value])];
    all.extend(variants(value));
    all
}

fn variants(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => {
            let spoiled = |(index, item): (usize, &Value)| {
                let put = move |other: Value| {
                    let mut items = items.clone();
                    items[index] = other;
                    Value::Array(items)
                };
                variants(item).into_iter().map(put)
            };
            items.iter().enumerate().flat_map(spoiled).collect()
        }
        Value::Object(members) => {
            let spoiled = |(name, member): (&String, &Value)| {
                let name = name.clone();
                let put = move |other: Value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), other);
                    Value::Object(members)
                };
                variants(member).into_iter().map(put)
            };
            members.iter().flat_map(spoiled).collect()
        }
        Value::Number(_) => vec![
            json!(0),
            json!(-1),
            json!(1),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e308),
            json!(-0.0),
            json!(0.5),
            json!(253_402_300_800_000_000_i64),
            json!(-377_705_116_800_000_000_i64),
            json!("0"),
            json!(null),
        ],
        Value::String(text) => vec![
            json!(""),
            json!("\u{0}"),
            json!("\u{202e}"),
            json!("x".repeat(5_000)),
            json!(text.to_uppercase()),
            json!(text.replace('-', "")),
            json!("ffffffff-ffff-ffff-ffff-ffffffffffff"),
            json!("00000000-0000-1000-8000-000000000000"),
            json!("ffffffff-ffff-1fff-bfff-ffffffffffff"),
            json!(7),
            json!(null),
        ],
        _ => vec![json!(null), json!(true)],
    }
}

/// Positions that lists do not have, as JSON.
pub(super) fn places() -> Vec<String> {
    const ID: &str = "\"00000000-0000-0000-0000-000000000000\"";
    let moments = [
        "[9999,365,23,59,59,0,-23,0,0]",
        "[-9999,1,0,0,0,0,0,0,0]",
        "[9999,365,23,59,59,999999999,0,0,0]",
        "[-9999,1,0,0,0,0,23,59,59]",
        "[2026,366,0,0,0,0,0,0,0]",
        "[2026,1,24,60,60,0,25,61,61]",
        "[2026,1]",
        "\"9999-12-31T23:59:59-23:00\"",
        "\"-9999-01-01T00:00:00Z\"",
        "9999999999999999999999",
        "-62167219200000001",
    ];
    let of_moments = moments.iter().flat_map(|moment| [format!("[{moment},{ID}]"), (*moment).to_owned()]);
    let others = [
        "",
        "null",
        "true",
        "{}",
        "[]",
        "\"\"",
        "NaN",
        "[null,null]",
        "{\"sort\":\"relevance\"}",
        "{\"sort\":\"price\",\"after\":[18446744073709551615,0]}",
        "{\"after\":[1e999,0],\"sort\":\"relevance\"}",
        "{\"after\":[-1,0],\"sort\":\"relevance\"}",
    ];
    of_moments.chain(others.map(str::to_owned)).chain(["[".repeat(5_000)]).collect()
}

/// Texts that are visibly not cursors, before anything decodes them.
pub(super) fn cursors() -> Vec<String> {
    ["=", "%00", "%E2%80%AE", "-", "AA==", "%F0%9F%9A%80", "..%2F..", "A"]
        .map(str::to_owned)
        .into_iter()
        .chain(["A".repeat(8_000)])
        .collect()
}
