//! kubectl in the namespace of a shop on a cluster; the environment says which cluster.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The program and the namespace.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub program: String,
    pub namespace: String,
}

impl Kubectl {
    /// An object as JSON.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.run(&["get", kind, name, "--output=json"], "")).expect("JSON")
    }

    /// Changes fields of an object.
    pub fn patch(&self, kind: &str, name: &str, change: &Value) {
        self.run(&["patch", kind, name, "--type=merge", "--patch-file=/dev/stdin"], &change.to_string());
    }

    /// Runs kubectl with `input` and returns what it printed.
    pub fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(&self.program)
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("kubectl reads");
        let output = child.wait_with_output().expect("kubectl ends");
        assert!(output.status.success(), "kubectl {} ended with {}", arguments.join(" "), output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}
