//! The Services of a cluster, as programs on this machine reach them.
//!
//! Inside the node's network namespace, the address of a Service is an address like any other. Another
//! cluster's Services are reached through `kubectl port-forward`, which runs until the result is dropped.

use std::{
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};

use super::Cluster;

/// A port of a Service, and the address where programs started by [`Cluster::command`] reach it.
#[derive(Debug)]
pub struct Reached {
    pub address: SocketAddr,
    _forward: Option<Forward>,
}

/// A running `kubectl port-forward`.
#[derive(Debug)]
struct Forward(Child);

impl Drop for Forward {
    fn drop(&mut self) {
        // It may already have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Cluster {
    /// An address that leads to a port of a Service.
    pub fn reach(&self, namespace: &str, service: &str, port: u16) -> Result<Reached> {
        if self.enter.is_empty() {
            return self.forward(namespace, service, port);
        }
        let address = self.kubectl(&[
            "--namespace",
            namespace,
            "get",
            "service",
            service,
            "--output=jsonpath={.spec.clusterIP}",
        ])?;
        let address = address.parse().with_context(|| format!("the address of {service}: `{address}`"))?;
        Ok(Reached { address: SocketAddr::new(address, port), _forward: None })
    }

    fn forward(&self, namespace: &str, service: &str, port: u16) -> Result<Reached> {
        let (service, port) = (format!("service/{service}"), format!(":{port}"));
        let arguments = ["--namespace", namespace, "port-forward", &service, &port];
        let mut child =
            self.kubectl_command(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("kubectl without output")?);
        let forward = Forward(child);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Some(address) = forwarded_from(&line) else {
            bail!("kubectl port-forward to {service} in {namespace} did not start: {}", line.trim());
        };
        // kubectl prints a line for each connection, and would block if nobody read them.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        Ok(Reached { address, _forward: Some(forward) })
    }
}

/// The address in `Forwarding from 127.0.0.1:41231 -> 8025`.
fn forwarded_from(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("Forwarding from ")?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::forwarded_from;

    #[test]
    fn the_address_is_what_kubectl_says_it_forwards_from() {
        let address = forwarded_from("Forwarding from 127.0.0.1:41231 -> 8025\n");
        assert_eq!(address.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:41231"));
        assert_eq!(forwarded_from("error: no such service\n"), None);
    }
}
