//! The charts: Helm's own checks and the API server accept them, and the operator's values are documented
//! as they are.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rocketmart_harness::prepare;
use serde_json::{Value, json};

use crate::cluster::{OPERATOR_NAMESPACE, server};

const BACKING: &str = "backing-services";

fn chart() -> PathBuf {
    chart_of("rocketmart")
}

fn chart_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts").join(name)
}

fn helm(arguments: &[&str]) -> Output {
    Command::new(prepare::helm().unwrap()).args(arguments).output().unwrap()
}

fn template(settings: &[&str]) -> Output {
    template_of("rocketmart", OPERATOR_NAMESPACE, settings)
}

fn template_of(name: &str, namespace: &str, settings: &[&str]) -> Output {
    let chart = chart_of(name).display().to_string();
    let mut arguments = vec!["template", name, &chart, "--namespace", namespace];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    helm(&arguments)
}

/// The rendered objects.
fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let documents = text.split("\n---").filter(|document| document.contains("kind:"));
    documents.map(|document| serde_norway::from_str(document.trim_start_matches("---")).unwrap()).collect()
}

#[test]
fn helm_finds_nothing_wrong_with_the_charts() {
    for chart in ["rocketmart", BACKING] {
        let linted = helm(&["lint", "--strict", &chart_of(chart).display().to_string()]);
        assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    }
}

#[test]
fn the_api_server_accepts_everything_the_chart_makes() {
    for settings in [
        vec![],
        vec![
            "watchNamespace=default",
            "replicaCount=1",
            "log.format=text",
            "imagePullSecrets[0].name=registry",
        ],
    ] {
        for object in objects(&template(&settings)) {
            let accepted = accepts(OPERATOR_NAMESPACE, &object);
            assert!(accepted.is_ok(), "{settings:?} {}: {accepted:?}", object["kind"]);
        }
    }
}

#[test]
fn the_api_server_accepts_the_backing_services_with_and_without_cassandra() {
    let kinds_with = |settings: &[&str]| -> Vec<String> {
        let objects = objects(&template_of(BACKING, "backing", settings));
        for object in &objects {
            let accepted = accepts("backing", object);
            assert!(accepted.is_ok(), "{settings:?} {}: {accepted:?}", object["kind"]);
        }
        let name = |object: &Value| {
            format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
        };
        objects.iter().map(name).collect()
    };
    for namespace in ["backing", "rocket-mart"] {
        server().kubectl(&["create", "namespace", namespace]).unwrap();
    }
    let usual = kinds_with(&[]);
    assert!(usual.contains(&"StatefulSet postgres".to_owned()), "{usual:?}");
    assert!(!usual.iter().any(|name| name.ends_with("cassandra")), "{usual:?}");
    let more = kinds_with(&["cassandra.enabled=true", "databases={member}"]);
    for kind in ["StatefulSet", "Service", "ConfigMap"] {
        assert!(more.contains(&format!("{kind} cassandra")), "{more:?}");
    }
}

#[test]
fn a_database_that_is_left_out_loses_its_url() {
    server().kubectl(&["create", "namespace", "left-out"]).unwrap();
    let urls_of = |databases: &str| {
        let settings = [databases, "shopNamespace=left-out"];
        let rendered = objects(&template_of(BACKING, "left-out", &settings));
        let secret = rendered.iter().find(|it| it["metadata"]["name"] == "rocketmart-databases").unwrap();
        let file = std::env::temp_dir().join(format!("rocketmart-databases-{}.json", std::process::id()));
        std::fs::write(&file, secret.to_string()).unwrap();
        // As Helm does.
        server().kubectl(&["apply", "--server-side", "--filename", &file.display().to_string()]).unwrap();
        std::fs::remove_file(file).unwrap();
        let kept = ["--namespace", "left-out", "get", "secret", "rocketmart-databases", "--output"];
        let keys = "go-template={{range $name, $_ := .data}}{{$name}} {{end}}";
        server().kubectl(&[&kept[..], &[keys]].concat()).unwrap()
    };
    assert_eq!(urls_of("databases={member,order}"), "member order ");
    assert_eq!(urls_of("databases={order}"), "order ");
}

#[test]
fn every_pod_of_the_backing_services_is_as_restricted_as_their_namespace_asks() {
    for object in objects(&template_of(BACKING, "backing", &["cassandra.enabled=true"])) {
        let pod = &object["spec"]["template"]["spec"];
        let Some(containers) = pod["containers"].as_array() else { continue };
        let name = &object["metadata"]["name"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        for container in containers {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{name}");
            assert!(container["readinessProbe"].is_object(), "{name}");
            assert!(container["livenessProbe"].is_object(), "{name}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        }
    }
}

/// Whether the API server would accept an object. It uses this namespace unless the object names another.
fn accepts(namespace: &str, object: &Value) -> anyhow::Result<String> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let kind = object["kind"].as_str().unwrap();
    let file = format!("rocketmart-chart-{}-{namespace}-{kind}-{name}.json", std::process::id());
    let file = std::env::temp_dir().join(file);
    std::fs::write(&file, object.to_string())?;
    let path = file.display().to_string();
    let mut arguments = vec!["apply", "--dry-run=server", "--server-side", "--force-conflicts"];
    arguments.extend(["--filename", &path]);
    if object["metadata"]["namespace"].is_null() {
        arguments.extend(["--namespace", namespace]);
    }
    let accepted = server().kubectl(&arguments);
    std::fs::remove_file(file)?;
    accepted
}

#[test]
fn what_the_prometheus_operator_reads_stands_behind_switches() {
    let kinds = |settings: &[&str]| -> Vec<String> {
        let objects = objects(&template(settings));
        objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    let plain = kinds(&[]);
    assert!(!plain.iter().any(|kind| kind == "ServiceMonitor" || kind == "PrometheusRule"), "{plain:?}");
    let all = kinds(&["serviceMonitor.enabled=true", "prometheusRule.enabled=true"]);
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule"] {
        assert!(all.iter().any(|other| other == kind), "{kind} is not in {all:?}");
    }
}

#[test]
fn the_prometheus_operators_own_definitions_accept_what_the_chart_makes_for_it() {
    let definitions = prepare::prometheus_operator_definitions().unwrap().display().to_string();
    server().kubectl(&["apply", "--server-side", "--filename", &definitions]).unwrap();
    server().kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).unwrap();
    let switches = ["serviceMonitor.enabled=true", "prometheusRule.enabled=true"];
    for more in [&["watchNamespace=default", "prometheusRule.labels.release=prometheus"][..], &[]] {
        let mut theirs = objects(&template(&[&switches, more].concat()));
        theirs.retain(|object| object["apiVersion"] == "monitoring.coreos.com/v1");
        assert_eq!(theirs.len(), 3, "{more:?}");
        for object in &mut theirs {
            let accepted = accepts(OPERATOR_NAMESPACE, object);
            assert!(accepted.is_ok(), "{more:?} {}: {accepted:?}", object["kind"]);
            // Otherwise they would have reported it.
            object["spec"]["surprise"] = json!(1);
            assert!(accepts(OPERATOR_NAMESPACE, object).is_err(), "{}", object["kind"]);
        }
    }
}

#[test]
fn every_alert_asks_for_metrics_that_there_are() {
    let rendered = objects(&template(&["prometheusRule.enabled=true"]));
    let rule = rendered.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let telemetry = include_str!("../../src/telemetry.rs");
    let dead_letters = include_str!("../../../services/kit/src/kafka/dead_letter.rs");
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 6);
    for rule in rules {
        let expression = rule["expr"].as_str().unwrap();
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for metric in words.filter(|word| word.starts_with("rocketmart_") || word.starts_with("kafka_")) {
            let source = if metric.starts_with("kafka_") { dead_letters } else { telemetry };
            assert!(source.contains(&format!("\"{metric}\"")), "{metric} in {expression}");
        }
    }
}

/// K14: every text in the chart's values, and the names of the release and its namespace, may look like
/// something else to YAML.
#[test]
fn k14_a_text_that_yaml_would_read_as_something_else_stays_a_text() {
    let shape = |text: &str| -> Vec<Value> {
        let chart = chart().display().to_string();
        let mut arguments =
            vec!["template".to_owned(), text.to_owned(), chart, "--namespace".into(), text.into()];
        for field in [
            "watchNamespace",
            "image.repository",
            "image.tag",
            "shopImage",
            "log.level",
            "prometheusRule.labels.release",
            "nodeSelector.disk",
            "imagePullSecrets[0].name",
        ] {
            arguments.extend(["--set-string".to_owned(), format!("{field}={text}")]);
        }
        for switch in ["serviceMonitor.enabled=true", "prometheusRule.enabled=true"] {
            arguments.extend(["--set".to_owned(), switch.to_owned()]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        objects(&helm(&arguments)).iter().map(types).collect()
    };
    let plain = shape("plain");
    for odd in ["123", "true", "1e3", "null", "010", "0x1f", "no"] {
        assert_eq!(shape(odd), plain, "{odd}");
    }
    for odd in ["123", "true", "1e3", "null"] {
        let settings = format!("watchNamespace={odd}");
        let rendered =
            helm(&["template", "rocketmart", &chart().display().to_string(), "--set-string", &settings]);
        let deployment =
            objects(&rendered).into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        let environment = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
        let watched =
            environment.as_array().unwrap().iter().find(|it| it["name"] == "WATCH_NAMESPACE").unwrap();
        assert_eq!(watched["value"], odd);
    }
    // None given means all namespaces.
    assert!(
        objects(&template(&["watchNamespace=null"])).iter().any(|object| object["kind"] == "ClusterRole")
    );
}

/// The object, with the type of each value in place of the value.
fn types(object: &Value) -> Value {
    match object {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), types(value))).collect(),
        Value::Array(items) => items.iter().map(types).collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("switch"),
        Value::Null => Value::Null,
    }
}

#[test]
fn a_value_that_does_not_exist_or_does_not_fit_is_refused() {
    for bad in ["surprise=1", "replicaCount=0", "leaseSeconds=1", "log.format=xml", "image.tag="] {
        let output = template(&[bad]);
        assert!(!output.status.success(), "{bad} was accepted");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let field = bad.split(['=', '.']).next().unwrap();
        assert!(said.contains(field), "{bad}: {said}");
    }
}

#[test]
fn every_value_is_in_the_readme_and_in_the_schema() {
    let read = |file: &str| std::fs::read_to_string(chart().join(file)).unwrap();
    let values: Value = serde_norway::from_str(&read("values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let readme = read("README.md");
    let mut leaves = Vec::new();
    collect(&values, "", &mut leaves);
    assert!(leaves.len() > 15, "{leaves:?}");
    for leaf in leaves {
        // `resources` and the like have Kubernetes' own fields.
        let top = leaf.split('.').next().unwrap();
        let documented = if top == "resources" { top } else { &leaf };
        assert!(readme.contains(&format!("`{documented}`")), "{documented} is not in the README");
        assert!(schema["properties"].get(top).is_some(), "{top} is not in the schema");
    }
}

fn collect(value: &Value, path: &str, leaves: &mut Vec<String>) {
    match value.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(field, &path, leaves);
            }
        }
        _ => leaves.push(path.to_owned()),
    }
}
