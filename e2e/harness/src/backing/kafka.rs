//! One Kafka broker in KRaft mode; tests are kept apart by topic prefix.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use anyhow::{Result, anyhow};

use crate::{
    maven,
    process::{self, Process, Server},
    step,
};

/// A broker process and its log directory; both go when dropped.
#[derive(Debug)]
pub struct Kafka {
    server: Server,
    process: Process,
    port: u16,
    dir: PathBuf,
}

const START_LIMIT: Duration = Duration::from_secs(90);
/// Any fixed cluster id will do: a broker only compares it with what its own disk says.
const CLUSTER_ID: &str = "cm9ja2V0bWFydC10ZXN0cw";

impl Kafka {
    /// The one broker of this test process, started at first use.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("Kafka for tests: {error}"))
    }

    pub fn start() -> Result<Self> {
        Self::start_on(process::free_port()?)
    }

    pub fn start_on(port: u16) -> Result<Self> {
        let libraries = maven::libraries("kafka")?;
        let dir = process::scratch("kafka")?;
        let properties = dir.join("server.properties");
        fs::write(&properties, server_properties(port, process::free_port()?, &dir.join("data")))?;
        let classpath = format!("{}/*", libraries.display());
        step::run(
            Command::new("java")
                .args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", &classpath])
                .args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"])
                .arg(&properties),
            &dir.join("format.log"),
            START_LIMIT,
        )?;
        let server = Server {
            name: "kafka",
            program: "java".into(),
            arguments: vec![
                "-Xmx384m".into(),
                "-XX:+UseSerialGC".into(),
                "-cp".into(),
                classpath,
                "kafka.Kafka".into(),
                properties.display().to_string(),
            ],
            environment: vec![],
            log: dir.join("kafka.log"),
            user: None,
        };
        let process = server.start(port, START_LIMIT)?;
        Ok(Self { server, process, port, dir })
    }

    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGKILL; the log stays for [`Kafka::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts again on the same port and log.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.server.start(self.port, START_LIMIT)?;
        Ok(())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// One process as broker and controller. Topics come into being at first use, so that a test need
/// not name them; the deployed broker has that off.
fn server_properties(port: u16, controller_port: u16, data: &std::path::Path) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={}
num.partitions=3
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
",
        data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_answers_after_a_crash() -> Result<()> {
        let mut kafka = Kafka::start()?;
        kafka.kill();
        kafka.restart()?;
        assert!(process::accepts(kafka.port));
        Ok(())
    }
}
