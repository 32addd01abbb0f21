//! `cargo xtask demo`: from nothing to a closed, balanced flash sale.
//!
//! ```text
//! prepare → node → charts → Shop Ready → people → FlashSale → the rush → Closed → checker → report
//! ```
//!
//! Every figure of the report is read from the running system: counters and phases from the FlashSale's
//! status, what shoppers were told from their own history, the books from the stores.

pub(crate) mod install;
mod report;
mod sale;
mod timeline;
mod tools;

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{cluster::Cluster, node::Node, prepare, programs::Speed, step};

use self::{sale::Sale, timeline::Timeline, tools::Tools};

const FOLDER: &str = "target/demo";
/// The report of the last demo.
pub(crate) const REPORT: &str = "target/demo/report.json";

/// How large the demo is, and where it runs.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Another cluster, in place of the node of this machine.
    pub kubeconfig: Option<PathBuf>,
    /// Where pods reach the ingress controller.
    pub entrance: String,
    /// Keeps the catalog in Cassandra rather than in PostgreSQL.
    pub cassandra: bool,
    /// How our programs on the node of this machine are compiled.
    pub speed: Speed,
    pub units: u32,
    pub shoppers: u32,
    /// How many of them sign up themselves, through the link in a mail.
    pub sign_ups: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            entrance: "http://envoy.projectcontour".to_owned(),
            cassandra: false,
            speed: Speed::AsTested,
            units: 1_000,
            shoppers: 5_000,
            sign_ups: 24,
        }
    }
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(flag) = words.next() {
            match flag.as_str() {
                "--cassandra" => {
                    options.cassandra = true;
                    continue;
                }
                "--optimized" => {
                    options.speed = Speed::Optimized;
                    continue;
                }
                _ => {}
            }
            let value = words.next().with_context(|| format!("{flag} needs a value"))?;
            let number = || value.parse().with_context(|| format!("{flag} {value}: a number is needed"));
            match flag.as_str() {
                "--kubeconfig" => options.kubeconfig = Some(value.into()),
                "--entrance" => options.entrance.clone_from(value),
                "--units" => options.units = number()?,
                "--shoppers" => options.shoppers = number()?,
                "--sign-ups" => options.sign_ups = number()?,
                other => bail!("there is no option {other}"),
            }
        }
        if options.units == 0 || options.shoppers == 0 {
            bail!("--units and --shoppers: at least 1");
        }
        Ok(options)
    }
}

impl Options {
    /// The cluster that is up.
    pub(crate) fn cluster(&self) -> Result<Cluster> {
        match &self.kubeconfig {
            Some(kubeconfig) => Cluster::elsewhere(kubeconfig),
            None => Ok(Node::running()?.cluster().clone()),
        }
    }
}

/// Runs the demo. Anything that went wrong is an error, a broken invariant included.
pub(crate) fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    let folder = PathBuf::from(FOLDER);
    fs::create_dir_all(&folder)?;

    println!("Prepare");
    let cluster = match &options.kubeconfig {
        Some(kubeconfig) => Cluster::elsewhere(kubeconfig)?,
        None => node(options)?.cluster().clone(),
    };

    println!("Install");
    install::run(&cluster, options.cassandra)?;
    let timeline = Timeline::start(&cluster);

    println!("People");
    let tools = Tools::start(&cluster, &options.entrance, &folder)?;
    let sale = Sale::new(options);
    step::step("Sign up, import, publish", || tools.people(&sale, options))?;

    println!("Flash sale {}", sale.name);
    sale.apply(&cluster)?;
    sale.wait_for(&cluster, &["Ready", "Open", "SoldOut"], Sale::lead())?;
    step::step("The rush", || tools.rush(&sale))?;
    sale.wait_for(&cluster, &["Closed"], std::time::Duration::from_mins(3))?;

    println!("The books");
    step::step("Compare Redis, Kafka, PostgreSQL, payments and the shoppers' history", || {
        tools.check(&sale)
    })?;
    timeline::wait_for_scale_in(&cluster)?;
    let seen = timeline.finish()?;
    let report = report::assemble(&cluster, &sale, &folder, &seen)?;
    fs::write(REPORT, serde_json::to_vec_pretty(&report)?)?;
    report::print(&report);
    println!("\nWhere the time went");
    for (what, took) in step::longest(6) {
        println!("  {:>6.0} s  {what}", took.as_secs_f64());
    }
    println!("\n  {} s in all. The report: {REPORT}", started.elapsed().as_secs());
    println!("{}", how_to_go_on(options, &sale.name));
    report::verdict(&report)
}

/// The node of this machine, with what the demo needs on it.
fn node(options: &Options) -> Result<Node> {
    let node = Node::up(options.speed)?;
    if options.cassandra {
        let image = prepare::cassandra_image()?;
        step::step("Import the image of Cassandra", || node.import_image(&image))?;
    }
    Ok(node)
}

/// Tells how to look at what is left running, and how to remove it.
fn how_to_go_on(options: &Options, sale: &str) -> String {
    let ns = install::SHOP_NAMESPACE;
    let (kubectl, removal) = match &options.kubeconfig {
        None => ("cargo xtask kubectl --".to_owned(), "cargo xtask down".to_owned()),
        Some(path) => {
            let kubeconfig = path.display();
            (
                format!("kubectl --kubeconfig {kubeconfig}"),
                format!("the commands under Uninstalling in README.md, with --kubeconfig {kubeconfig}"),
            )
        }
    };
    format!(
        "  Look around:  {kubectl} -n {ns} get shop,flashsale,deployments,pods
                {kubectl} -n {ns} describe flashsale {sale}
  Remove it:    {removal}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_elsewhere_is_not_removed_with_the_node_of_this_machine() {
        let here = how_to_go_on(&Options::default(), "launch");
        assert!(here.contains("cargo xtask down"), "{here}");
        let there = Options { kubeconfig: Some("k.yaml".into()), ..Options::default() };
        let there = how_to_go_on(&there, "launch");
        assert!(there.contains("kubectl --kubeconfig k.yaml") && !there.contains("xtask"), "{there}");
    }
}
