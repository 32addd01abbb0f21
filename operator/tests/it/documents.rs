//! What documents tell people to type names objects that there are (K16).

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use rocketmart_crds::Component;
use rocketmart_harness::prepare;
use rocketmart_operator::controllers::shop::names;
use serde_json::Value;

/// Paths below the checkout, and their texts.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = vec![root.join("README.md"), root.join("charts/rocketmart/README.md")];
    paths.push(root.join("charts/backing-services/README.md"));
    paths.push(root.join("charts/rocketmart/templates/NOTES.txt"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    paths.into_iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// The commands in a document that begin with `program`, each on one line.
fn commands(text: &str, program: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let begins = format!("{program} ");
    let parts = text.lines().flat_map(|line| line.split('`')).map(str::trim);
    parts.filter(|part| part.starts_with(&begins)).map(str::to_owned).collect()
}

/// Deployments of the charts as they are installed by the README, and of a shop `SHOP`.
fn deployments() -> BTreeSet<String> {
    let mut names: BTreeSet<_> =
        Component::ALL.iter().map(|component| names::of_component("SHOP", *component)).collect();
    for chart in ["rocketmart", "backing-services"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts").join(chart);
        let output =
            Command::new(prepare::helm().unwrap()).args(["template", chart]).arg(path).output().unwrap();
        let rendered = String::from_utf8(output.stdout).unwrap();
        for object in rendered.split("\n---").filter(|object| object.contains("\nkind: Deployment")) {
            let object: Value = serde_norway::from_str(object.trim_start_matches("---")).unwrap();
            names.insert(object["metadata"]["name"].as_str().unwrap().to_owned());
        }
    }
    names
}

#[test]
fn k16_a_deployment_that_a_document_names_is_one_that_there_is() {
    let (known, mut seen) = (deployments(), 0);
    for (path, text) in documents() {
        for command in commands(&text, "kubectl") {
            let words: Vec<_> = command.split([' ', '/']).filter(|word| !word.is_empty()).collect();
            for pair in words.windows(2) {
                if matches!(pair[0], "deployment" | "deployments" | "deploy") && !pair[1].starts_with('-') {
                    assert!(known.contains(pair[1]), "{path}: no Deployment {}: {command}", pair[1]);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 2, "docs/restore.md stops the operator and starts it again");
}

#[test]
fn k16_labels_by_which_a_document_selects_are_those_of_a_shop() {
    let labels = names::shop_labels("SHOP");
    let mut seen = 0;
    for (path, text) in documents() {
        for command in commands(&text, "kubectl") {
            let mut words = command.split_whitespace();
            while let Some(word) = words.next() {
                if !matches!(word, "-l" | "--selector") {
                    continue;
                }
                for label in words.next().unwrap_or_default().split(',') {
                    let (name, value) = label.split_once('=').unwrap();
                    assert_eq!(labels.get(name).map(String::as_str), Some(value), "{path}: {command}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 3, "docs/restore.md stops everything of a shop");
}
