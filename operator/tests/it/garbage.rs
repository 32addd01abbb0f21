//! Kubernetes' own garbage collector, for a test whose children should go with their owner.

use std::{path::PathBuf, time::Duration};

use rocketmart_harness::{
    apiserver::ApiServer,
    ports, prepare,
    process::{self, Process, Server},
    step::tail,
};

const START_LIMIT: Duration = Duration::from_mins(1);

/// Ends when dropped.
pub struct GarbageCollector {
    _process: Process,
    log: PathBuf,
}

impl GarbageCollector {
    /// It knows the kinds that the API server has by now.
    pub fn start(server: &ApiServer) -> Self {
        let log = process::scratch("garbage").unwrap().join("kube-controller-manager.log");
        let port = ports::free_port().unwrap();
        let arguments = [
            ("kubeconfig", server.kubeconfig().display().to_string()),
            ("controllers", "garbage-collector-controller".to_owned()),
            ("leader-elect", "false".to_owned()),
            // It has thousands of objects to delete. By default it would send 20 requests a second.
            ("kube-api-qps", "500".to_owned()),
            ("kube-api-burst", "500".to_owned()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("secure-port", port.to_string()),
        ];
        let manager = Server {
            name: "kube-controller-manager",
            program: prepare::kubernetes_binaries().unwrap().join("kube-controller-manager"),
            arguments: arguments.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect(),
            environment: vec![],
            log: log.clone(),
            user: None,
        };
        Self { _process: manager.start(port, START_LIMIT).unwrap(), log }
    }
}

impl Drop for GarbageCollector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", tail(&self.log));
        }
    }
}
