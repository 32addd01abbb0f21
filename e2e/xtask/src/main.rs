//! `cargo xtask <command>`: everything a person does with this repository.
//!
//! The commands are thin. The work is in `rocketmart-harness` (machines and processes), `rocketmart-loadtest`
//! (the shoppers) and `rocketmart-checker` (the books).

mod bench;
mod demo;
mod deployed;
mod dev;
mod faults;
mod forward;
mod quality;
mod tests;

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use rocketmart_harness::{
    node::Node,
    prepare,
    programs::{Programs, Speed},
};

const USAGE: &str = "cargo xtask <command>

  demo [--kubeconfig PATH [--entrance URL]] [--units N] [--shoppers N] [--cassandra]
       [--optimized]
                     from nothing to a closed, balanced flash sale; leaves the cluster up;
                     --cassandra: with the catalog there; --optimized: with programs that are
                     compiled for speed, which takes minutes more
  test [TIER…] [--long] [--kubeconfig PATH [--entrance URL]] [--cassandra]
                     all tests, or those of some tiers: unit, services, shop, operator, faults, e2e;
                     and deployed, which runs only by name, the second half of e2e by itself: what
                     buyers and sellers do in the shop that a demo left on a cluster;
                     --long: sweeps try everything hostile there is, not a part of it
  faults [ROW…] [--seed N --minutes M] [--known-bugs] [--list]
                     kills, freezes and cuts what a sale stands on, and audits what is left
  bench [--quick] [NAME…]
                     how fast it is: accept, soldout, latency, naive, paid, scenario, growth,
                     preload, search, scale, memory, operator; writes docs/benchmarks.md
  up                 a Kubernetes node with ingress on this machine
  down               removes the node and everything it made
  kubectl -- ARGS    kubectl against the node
  shell [-- COMMAND] a shell that reaches the deployed shop: $SHOP, $MAIL, $PROVIDER, $KUBECTL
  forward [PORT]     a loopback port (8080) that leads to the node's entrance, until Ctrl-C
  images [--cassandra]
                     builds the images of the shop and its backing services, for another cluster
  dev                the services as plain processes on loopback, until Ctrl-C
  gen [--check]      writes (or checks) CRDs, OpenAPI documents and the schemas of events
  fmt [--check]      formats the code
  lint               clippy with warnings as errors, formatting, generated files, the dependencies (used,
                     licensed, compiled once: cargo machete, deny, hakari), and what runs elsewhere
                     (kind-config.yaml, workflows)";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<()> {
    env::set_current_dir(repository())?;
    let Some((command, rest)) = arguments.split_first() else {
        println!("{USAGE}");
        return Ok(());
    };
    match command.as_str() {
        "demo" => demo::run(&demo::Options::parse(rest)?),
        "test" => tests::run(rest),
        "up" => Node::up(Speed::AsTested)
            .map(|node| println!("the node is up; kubeconfig: {}", node.kubeconfig().display())),
        "down" => Node::down(),
        "kubectl" => {
            let arguments = rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest);
            let status = Node::running()?.cluster().kubectl_command(arguments).status()?;
            if status.success() { Ok(()) } else { bail!("kubectl ended with {status}") }
        }
        "shell" => deployed::shell(rest),
        "forward" => forward::run(rest),
        forward::INSIDE => forward::inside(),
        "images" => {
            let mut images = prepare::shop_images()?;
            if rest.iter().any(|argument| argument == "--cassandra") {
                images.push(prepare::cassandra_image()?);
            }
            for image in images {
                println!("{}\t{}", image.name, image.archive.display());
            }
            Ok(())
        }
        "bench" => bench::run(rest),
        "dev" => dev::run(),
        "faults" => faults::run(rest),
        "gen" => quality::generate(
            &Programs::build(Speed::AsTested)?,
            rest.iter().any(|argument| argument == "--check"),
        ),
        "fmt" => quality::format(rest.iter().any(|argument| argument == "--check")),
        "lint" => quality::lint(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("no command `{other}`\n\n{USAGE}"),
    }
}

/// The root of the checkout.
fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
