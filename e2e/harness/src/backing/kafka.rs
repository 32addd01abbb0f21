//! One Kafka broker in `KRaft` mode; each test has its own topic prefix.

mod secured;
mod topics;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

pub use self::{secured::Secured, topics::Topic};
use crate::{
    command, maven, ports,
    process::{self, Process, Server},
};

/// A broker process and its log directory; both go when dropped.
#[derive(Debug)]
pub struct Kafka {
    server: Server,
    process: Process,
    port: u16,
    /// The port that clients are told: the same one, unless a proxy is in between.
    advertised: u16,
    /// Where clients log in over TLS, if there is such a listener.
    secured: Option<Secured>,
    classpath: String,
    dir: PathBuf,
}

/// It listens after some seconds on an idle machine, later on a busy one.
const START_LIMIT: Duration = Duration::from_mins(3);
/// Any fixed cluster id will do: a broker only compares it with the one on its own disk.
const CLUSTER_ID: &str = "cm9ja2V0bWFydC10ZXN0cw";

impl Kafka {
    pub fn start() -> Result<Self> {
        Self::start_on(ports::free_port()?)
    }

    pub fn start_on(port: u16) -> Result<Self> {
        Self::start_advertising(port, port)
    }

    /// Listens on `port` and sends its clients to `advertised`, where a proxy may be.
    pub fn start_advertising(port: u16, advertised: u16) -> Result<Self> {
        Self::start_with(port, advertised, |_| Ok(None))
    }

    /// Starts a broker with a second listener, see [`Kafka::secured`].
    pub fn start_secured() -> Result<Self> {
        let port = ports::free_port()?;
        Self::start_with(port, port, |dir| Secured::prepare(dir).map(Some))
    }

    fn start_with(
        port: u16,
        advertised: u16,
        secured: impl FnOnce(&Path) -> Result<Option<Secured>>,
    ) -> Result<Self> {
        let classpath = format!("{}/*", maven::libraries("kafka")?.display());
        let dir = process::scratch("kafka")?;
        let properties = dir.join("server.properties");
        let controller = ports::free_port()?;
        let secured = secured(&dir)?;
        fs::write(
            &properties,
            server_properties(port, advertised, controller, &dir.join("data"), secured.as_ref()),
        )?;
        format(&classpath, &dir, secured.is_some())?;
        let server = Server {
            name: "kafka",
            program: "java".into(),
            arguments: vec![
                "-Xmx384m".into(),
                "-XX:+UseSerialGC".into(),
                // Kafka's compressors unpack native libraries at each start, and a killed broker leaves them
                // behind.
                format!("-Djava.io.tmpdir={}", dir.display()),
                "-cp".into(),
                classpath.clone(),
                "kafka.Kafka".into(),
                properties.display().to_string(),
            ],
            environment: vec![],
            log: dir.join("kafka.log"),
            user: None,
        };
        let process = server.start(port, START_LIMIT)?;
        Ok(Self { server, process, port, advertised, secured, classpath, dir })
    }

    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.advertised)
    }

    /// The listener with TLS and log-in, if the broker was started with one.
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// Makes the topics that do not exist yet. It asks the server itself, whatever its clients are told.
    pub fn create_topics(&self, topics: &[Topic<'_>]) -> Result<()> {
        topics::create(self.port, topics)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL; the log stays for [`Kafka::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts again as [`Kafka::restart`] does, without waiting until it answers.
    pub fn begin_restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.server.spawn()?;
        Ok(())
    }

    /// Whether its process still runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.process.wait_for(Duration::ZERO)?.is_none())
    }

    /// Starts again on the same port and log.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.server.start(self.port, START_LIMIT)?;
        Ok(())
    }

    /// Sends a signal by name, e.g. `STOP` and `CONT` for a broker that hangs.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Starts again on the same port with nothing: no topics, no messages, no group offsets.
    pub fn restart_empty(&mut self) -> Result<()> {
        self.process.kill();
        fs::remove_dir_all(self.dir.join("data"))?;
        format(&self.classpath, &self.dir, self.secured.is_some())?;
        self.restart()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Prepares an empty data directory for a broker in `KRaft` mode.
fn format(classpath: &str, dir: &Path, secured: bool) -> Result<()> {
    command::run(
        Command::new("java")
            .args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classpath])
            .args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"])
            .arg(dir.join("server.properties"))
            .args(if secured { secured::format_arguments() } else { vec![] }),
        &dir.join("format.log"),
        START_LIMIT,
    )
}

/// One process is broker and controller. Topics are created at first use, so that a test need not name them;
/// the deployed broker has that off.
fn server_properties(
    port: u16,
    advertised: u16,
    controller_port: u16,
    data: &Path,
    secured: Option<&Secured>,
) -> String {
    let listener = secured.map(|secured| format!(",{}", secured.listener())).unwrap_or_default();
    let more = secured.map(Secured::properties).unwrap_or_default();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}{listener}
controller.listener.names=CONTROLLER
log.dirs={}
num.partitions=3
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
{more}",
        data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_answers_after_a_crash_and_after_it_lost_everything() -> Result<()> {
        let mut kafka = Kafka::start()?;
        kafka.kill();
        kafka.restart()?;
        assert!(process::accepts(kafka.port));
        kafka.restart_empty()?;
        let topic = |name| Topic { name, partitions: 2, compacted: true };
        kafka.create_topics(&[topic("one"), topic("two")])?;
        kafka.create_topics(&[topic("two"), topic("three")])?;
        let refused = kafka.create_topics(&[topic("not a topic's name")]).unwrap_err();
        assert!(refused.to_string().contains("not a topic's name"), "{refused}");
        assert!(process::accepts(kafka.port));
        Ok(())
    }
}
