//! docs/operations.md and docs/dead-letters.md, typed by somebody on call (K16).

use rocketmart_shop::{Kubectl, Shop, eventually, unique};
use serde_json::{Value, json};

use crate::{
    TURN, declared,
    terminal::{Terminal, blocks},
};

/// The name of a component's pod.
fn pod(kubectl: &Kubectl, component: &str) -> String {
    let selector = format!("app.kubernetes.io/component={component}");
    let listed = kubectl.run(&["get", "pods", "--selector", &selector, "--output=name"], "");
    listed.lines().next().unwrap().trim_start_matches("pod/").to_owned()
}

/// A stopped Redis; it starts again in the end, however the test ends.
struct Stopped {
    backing: Kubectl,
}

impl Stopped {
    fn redis(kubectl: &Kubectl) -> Self {
        let stopped = Self { backing: Kubectl { namespace: "backing".to_owned(), ..kubectl.clone() } };
        stopped.scale(0);
        stopped
    }

    fn scale(&self, replicas: u32) {
        self.backing.run(&["scale", "statefulset", "redis", &format!("--replicas={replicas}")], "");
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.scale(1);
    }
}

/// What a pod reports to somebody who asks as the document says: JSON, without whatever else is printed
/// around it.
fn report(kubectl: &Kubectl, pod: &str) -> Value {
    let all = blocks("docs/operations.md");
    let [look] = &all[..] else { panic!("which pods there are, and what one says: {all:?}") };
    let terminal = Terminal::open(kubectl, vec![("<pod>", pod.to_owned())]);
    let printed = tokio::task::block_in_place(|| terminal.run(&look.text));
    assert!(printed.lines().any(|line| line.starts_with(pod)), "{pod} is listed: {printed}");
    let begin = printed.find("{\"ready\"").unwrap_or_else(|| panic!("no report: {printed}"));
    let mut reports = serde_json::Deserializer::from_str(&printed[begin..]).into_iter();
    reports.next().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn k16_a_pod_says_what_is_away_to_who_asks_as_the_document_says() {
    let _turn = TURN.lock().await;
    let (kubectl, _) = declared(&Shop::open().await);
    // The relay gets nowhere without Redis, and is never scaled in.
    let relay = pod(&kubectl, "order-relay");
    let becomes = async |what: &str, expected: Value| {
        eventually(what, async || {
            let report = report(&kubectl, &relay);
            let missing = report["missing"].as_array().unwrap();
            let names: Value = missing.iter().map(|store| store["name"].clone()).collect();
            (names == expected && report["ready"] == missing.is_empty()).then_some(())
        })
        .await;
    };
    becomes("nothing is away", json!([])).await;
    let stopped = Stopped::redis(&kubectl);
    becomes("Redis is", json!(["redis"])).await;
    drop(stopped);
    becomes("it is back", json!([])).await;
    let ready = ["wait", "deployments", "--selector=app.kubernetes.io/managed-by=rocketmart-operator"];
    kubectl.run(&[&ready[..], &["--for=condition=Available", "--timeout=90s"]].concat(), "");
}

/// Puts a message into a topic that its readers cannot handle.
fn send_nonsense(kubectl: &Kubectl, topic: &str, text: &str) {
    let kafka = Kubectl { namespace: "backing".to_owned(), ..kubectl.clone() };
    let producer = ["java", "-Xmx64m", "-cp", "/opt/kafka/libs/*", "org.apache.kafka.tools.ConsoleProducer"];
    let options = ["--bootstrap-server", "localhost:9092", "--topic", topic];
    kafka.run(&[&["exec", "-i", "kafka-0", "--"], &producer[..], &options].concat(), &format!("{text}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn k16_dead_letters_are_listed_by_the_commands_of_the_document() {
    let _turn = TURN.lock().await;
    let (kubectl, name) = declared(&Shop::open().await);
    let all = blocks("docs/dead-letters.md");
    let [commands] = &all[..] else { panic!("list, show and replay: {all:?}") };
    let lines: Vec<_> = commands.text.lines().collect();
    // e2e/shop/tests/shop/dead_letters.rs tests `replay` on processes. Here the marker of its transaction
    // would stay at the end of a partition that nobody writes to, and a rebuild would take it for a message
    // that is not booked yet.
    let [list, show, _replay] = &lines[..] else { panic!("list, show and replay: {lines:?}") };
    let text = unique("nonsense");
    let topic = format!("{}.{name}.deliveries", kubectl.namespace);
    let names = |letter: &str| {
        vec![("NAMESPACE", kubectl.namespace.clone()), ("SHOP", name.clone()), ("0/12", letter.to_owned())]
    };
    let before = Terminal::open(&kubectl, names("0/12")).run(list);
    tokio::task::block_in_place(|| send_nonsense(&kubectl, &topic, &text));
    let letter = eventually("it is a letter", async || {
        let listed = Terminal::open(&kubectl, names("0/12")).run(list);
        let new = listed.lines().find(|line| !before.contains(line) && line.starts_with("order-worker "))?;
        new.split_whitespace().nth(1).map(str::to_owned)
    })
    .await;
    let printed = Terminal::open(&kubectl, names(&letter)).run(show);
    assert!(printed.contains(&text), "it is shown: {printed}");
}
