//! A test runs what the documents tell people to type, and checks that it names existing objects (K16).

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rocketmart_crds::Component;
use rocketmart_harness::{
    apiserver::ApiServer,
    documents::{Block, blocks},
    prepare,
};
use rocketmart_operator::controllers::shop::names;
use serde_json::Value;

/// What happens to the commands of a block.
enum Typed {
    /// A test runs them as written. The fields are the test's file and its name.
    By(&'static str, &'static str),
    /// No test runs them, for this reason.
    Nobody(&'static str),
}

use Typed::{By, Nobody};

const HERE: &str = "operator/tests/it/documents.rs";
const DEFINITIONS: Typed = By(
    "operator/tests/it/upgrade.rs",
    "k13_the_definitions_that_helm_installed_are_upgraded_as_the_documents_say",
);
const TOUR: Typed = By("e2e/shop/tests/shop/tour.rs", "every_command_of_the_tour_does_what_it_says");
const BY_HAND: Typed = By(HERE, "k16_a_cluster_is_filled_and_emptied_by_hand_as_the_readme_says");
const CHARTS: Typed = By(HERE, "k16_the_charts_are_installed_and_removed_as_they_say_themselves");
const RESTORED: Typed = By(
    "e2e/shop/tests/deployed/restored.rs",
    "k16_a_shop_comes_back_from_its_backup_by_the_commands_of_the_document",
);
const TROUBLE: Typed =
    By("e2e/shop/tests/deployed/trouble.rs", "k16_a_pod_says_what_is_away_to_who_asks_as_the_document_says");
const LETTERS: Typed =
    By("e2e/shop/tests/deployed/trouble.rs", "k16_dead_letters_are_listed_by_the_commands_of_the_document");

/// Every shell block in every document, by its document and its first line. An empty line stands for the
/// whole document.
const BLOCKS: &[(&str, &str, Typed)] = &[
    ("README.md", "cargo xtask demo   #", Nobody("the first is the tier `e2e`, the second runs all tests")),
    ("README.md", "cargo xtask kubectl -- -n rocket-mart", Nobody("removes the node that tests run on")),
    ("README.md", "kind create cluster", Nobody("wants Docker: the job `kind` of a forge has it")),
    ("README.md", "cargo xtask demo --kubeconfig", Nobody("wants another cluster: the job `kind` has it")),
    ("README.md", "kubectl create namespace rocket-mart", BY_HAND),
    ("README.md", "kubectl delete flashsales", BY_HAND),
    ("charts/backing-services/README.md", "kubectl create namespace backing", CHARTS),
    ("charts/rocketmart/README.md", "helm upgrade --install rocketmart", CHARTS),
    ("charts/rocketmart/README.md", "kubectl apply --server-side", DEFINITIONS),
    ("charts/rocketmart/templates/NOTES.txt", "kubectl apply --server-side", DEFINITIONS),
    ("charts/rocketmart/templates/NOTES.txt", "kubectl delete flashsales", CHARTS),
    // All but `replay`, which e2e/shop/tests/shop/dead_letters.rs tries on processes.
    ("docs/dead-letters.md", "kubectl", LETTERS),
    ("docs/operations.md", "kubectl -n rocket-mart get pods", TROUBLE),
    ("docs/restore.md", "kubectl -n backing exec", RESTORED),
    ("docs/restore.md", "for database in", RESTORED),
    ("docs/restore.md", "kubectl -n rocketmart-system scale", RESTORED),
    ("docs/restore.md", "psql \"$POSTGRES/catalog\"", RESTORED),
    ("docs/restore.md", "kubectl -n NAMESPACE run rewind", RESTORED),
    ("docs/tour.md", "", TOUR),
];

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Paths below the checkout, with their texts.
fn documents() -> Vec<(String, String)> {
    let root = checkout();
    let mut paths = vec![
        "README.md".to_owned(),
        "ARCHITECTURE.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "charts/rocketmart/README.md".to_owned(),
        "charts/rocketmart/templates/NOTES.txt".to_owned(),
        "charts/backing-services/README.md".to_owned(),
        "charts/backing-services/templates/NOTES.txt".to_owned(),
    ];
    for folder in ["docs", "docs/adr"] {
        let files = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let pages = files.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
        paths.extend(pages.map(|path| format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap())));
    }
    let text = |path: &String| fs::read_to_string(root.join(path)).unwrap();
    paths.into_iter().map(|path| (path.clone(), text(&path))).collect()
}

/// The commands in a document that begin with `program`, one per line.
fn commands(text: &str, program: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let begins = format!("{program} ");
    let parts = text.lines().flat_map(|line| line.split('`')).map(str::trim);
    parts.filter(|part| part.starts_with(&begins)).map(str::to_owned).collect()
}

/// Deployments of the charts, installed as the README says.
fn installed() -> Vec<Value> {
    let mut all = Vec::new();
    for chart in ["rocketmart", "backing-services"] {
        let path = checkout().join("charts").join(chart);
        let output =
            Command::new(prepare::helm().unwrap()).args(["template", chart]).arg(path).output().unwrap();
        let rendered = String::from_utf8(output.stdout).unwrap();
        for object in rendered.split("\n---").filter(|object| object.contains("\nkind: Deployment")) {
            all.push(serde_norway::from_str(object.trim_start_matches("---")).unwrap());
        }
    }
    all
}

/// The names of those, and of the Deployments of a shop named `SHOP`.
fn deployments() -> BTreeSet<String> {
    let theirs = installed();
    let theirs = theirs.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned());
    Component::ALL.iter().map(|component| names::of_component("SHOP", *component)).chain(theirs).collect()
}

/// Labels of pods: those of a shop named `SHOP`, and those of what the charts install.
fn labels() -> BTreeSet<(String, String)> {
    let mut labels: BTreeSet<_> = names::shop_labels("SHOP").into_iter().collect();
    for object in installed() {
        let theirs = object["spec"]["template"]["metadata"]["labels"].as_object().unwrap().clone();
        labels.extend(theirs.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())));
    }
    labels
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
fn k16_labels_by_which_a_document_selects_are_those_of_a_shop_or_of_a_chart() {
    let (labels, mut seen) = (labels(), 0);
    for (path, text) in documents() {
        for command in commands(&text, "kubectl") {
            let mut words = command.split_whitespace();
            while let Some(word) = words.next() {
                if !matches!(word, "-l" | "--selector") {
                    continue;
                }
                for label in words.next().unwrap_or_default().split(',') {
                    let (name, value) = label.split_once('=').unwrap();
                    assert!(labels.contains(&(name.to_owned(), value.to_owned())), "{path}: {command}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 3, "docs/restore.md stops everything of a shop");
}

#[test]
fn k16_every_block_of_shell_is_run_by_a_test_or_it_says_why_not() {
    let mut unused: BTreeSet<_> = BLOCKS.iter().map(|(path, line, _)| (*path, *line)).collect();
    for (path, text) in documents() {
        for block in blocks(&text) {
            let mut listed = BLOCKS
                .iter()
                .filter(|(document, line, _)| *document == path && block.first_line().starts_with(line));
            let Some((document, line, typed)) = listed.next() else {
                panic!("{path}: no test runs `{}`; `BLOCKS` has to say which one does", block.first_line());
            };
            unused.remove(&(*document, *line));
            match typed {
                Nobody(why) => assert!(!why.is_empty()),
                By(file, test) => {
                    let source = fs::read_to_string(checkout().join(file)).unwrap();
                    assert!(source.contains(&format!("fn {test}()")), "{file} has no test {test}");
                }
            }
        }
    }
    assert!(unused.is_empty(), "no document has these any more: {unused:?}");
}

/// What the steps of a job of the workflow run.
fn steps(job: &str) -> Vec<String> {
    let text = fs::read_to_string(checkout().join(".github/workflows/ci.yaml")).unwrap();
    let workflow: Value = serde_norway::from_str(&text).unwrap();
    let steps = workflow["jobs"][job]["steps"].as_array().unwrap();
    steps.iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect()
}

#[test]
fn k16_a_forge_runs_the_two_commands_and_the_section_on_kind_as_the_readme_has_them() {
    let readme = blocks(&fs::read_to_string(checkout().join("README.md")).unwrap());
    let commands: Vec<_> =
        readme[0].text.lines().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect();
    assert_eq!(commands, ["cargo xtask demo", "cargo xtask test"]);
    for (job, command) in ["demo", "test"].into_iter().zip(&commands) {
        assert_eq!(steps(job).last(), Some(command), "the job {job}");
    }
    let ci = fs::read_to_string(checkout().join(".ci/run")).unwrap();
    assert_eq!(ci.lines().next_back(), Some("cargo xtask test"), "CI here runs the same");

    // A test runs the other block of the section.
    let section = readme.iter().filter(|block| block.section == "With Docker, or on any other cluster");
    let by_nobody = |block: &&Block| {
        BLOCKS.iter().any(|(path, line, typed)| {
            *path == "README.md" && block.first_line().starts_with(line) && matches!(typed, Nobody(_))
        })
    };
    let wanted: Vec<_> = section.filter(by_nobody).map(|block| block.text.clone()).collect();
    let kind: Vec<_> = steps("kind").into_iter().filter(|step| wanted.contains(step)).collect();
    assert_eq!((kind.len(), kind), (2, wanted));
}

/// An API server for somebody who types commands in the checkout.
struct Typing {
    server: ApiServer,
}

impl Typing {
    fn start() -> Self {
        Self { server: ApiServer::start().unwrap() }
    }

    /// Runs commands until one fails. There is no kubelet, so nothing that a command waits for becomes
    /// ready.
    fn run(&self, commands: &str) -> String {
        let (kubernetes, helm) = (prepare::kubernetes_binaries().unwrap(), prepare::helm().unwrap());
        let path = format!("{}:{}", kubernetes.display(), helm.parent().unwrap().display());
        let commands = commands.replace(" --wait", "");
        let output = Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &commands])
            .current_dir(checkout())
            .env("PATH", format!("{path}:{}", env::var("PATH").unwrap()))
            .env("KUBECONFIG", self.server.kubeconfig())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn names(&self, objects: &str) -> String {
        self.run(&format!("kubectl get {objects} --output=name"))
    }
}

/// The blocks of a document that a test runs.
fn run_by(test: &Typed, document: &str) -> Vec<Block> {
    let By(_, test) = test else { panic!("no test runs it") };
    let is_run = |block: &Block| {
        BLOCKS.iter().any(|(path, line, typed)| {
            *path == document
                && block.first_line().starts_with(line)
                && matches!(typed, By(_, by) if by == test)
        })
    };
    blocks(&fs::read_to_string(checkout().join(document)).unwrap()).into_iter().filter(is_run).collect()
}

#[test]
fn k16_a_cluster_is_filled_and_emptied_by_hand_as_the_readme_says() {
    let typing = Typing::start();
    let blocks = run_by(&BY_HAND, "README.md");
    let [filled, emptied] = &blocks[..] else { panic!("two blocks: {blocks:?}") };
    typing.run(&filled.text);
    assert_eq!(typing.names("shops -n rocket-mart"), "shop.rocketmart.dev/rocket-mart\n");
    assert_eq!(typing.names("deployments -n rocketmart-system"), "deployment.apps/rocketmart-operator\n");
    assert!(typing.names("statefulsets -n backing").contains("/postgres\n"));
    // What the chart suggests next: one command per line, with its purpose.
    let notes = fs::read_to_string(checkout().join("charts/rocketmart/templates/NOTES.txt")).unwrap();
    let commands = notes.lines().filter_map(|line| line.split_once(':')).map(|(_, command)| command.trim());
    let commands: Vec<_> = commands.filter(|command| command.starts_with("kubectl ")).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    typing.run(&commands.join("\n"));
    assert_eq!(typing.names("flashsales -n rocket-mart"), "flashsale.rocketmart.dev/launch\n");

    typing.run(&emptied.text);
    assert_eq!(typing.names("crds"), "");
    assert_eq!(typing.names("deployments -n rocketmart-system"), "");
}

#[test]
fn k16_the_charts_are_installed_and_removed_as_they_say_themselves() {
    let typing = Typing::start();
    for chart in ["backing-services", "rocketmart"] {
        for block in run_by(&CHARTS, &format!("charts/{chart}/README.md")) {
            typing.run(&block.text);
        }
    }
    let secrets = typing.names("secrets -n rocket-mart");
    assert!(
        secrets.contains("/rocketmart-databases\n") && secrets.contains("/payment-provider\n"),
        "{secrets}"
    );
    assert_eq!(typing.names("deployments -n rocketmart-system"), "deployment.apps/rocketmart-operator\n");
    typing.run("kubectl apply -f examples/shop.yaml -f examples/flash-sale.yaml");
    for block in run_by(&CHARTS, "charts/rocketmart/templates/NOTES.txt") {
        typing.run(&block.text);
    }
    assert_eq!(typing.names("flashsales,shops --all-namespaces"), "");
}
