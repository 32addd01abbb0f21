//! One Redis with `appendfsync always`: an answer means that the write is on disk.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Result;

use crate::process::{self, Process, Server};

/// A Redis process and its data directory; both go when dropped.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    process: Process,
    port: u16,
    dir: PathBuf,
}

const START_LIMIT: Duration = Duration::from_secs(20);

impl Redis {
    pub fn start() -> Result<Self> {
        Self::start_on(process::free_port()?)
    }

    pub fn start_on(port: u16) -> Result<Self> {
        let dir = process::scratch("redis")?;
        let server = Server {
            name: "redis-server",
            program: "redis-server".into(),
            arguments: [
                ("--port", port.to_string()),
                ("--bind", "127.0.0.1".into()),
                ("--dir", dir.display().to_string()),
                ("--appendonly", "yes".into()),
                ("--appendfsync", "always".into()),
                ("--save", String::new()),
            ]
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect(),
            environment: vec![],
            log: dir.join("redis.log"),
            user: None,
        };
        let process = server.start(port, START_LIMIT)?;
        Ok(Self { server, process, port, dir })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL; the data stays for [`Redis::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name, e.g. `STOP` and `CONT` for a Redis that hangs.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Starts again on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.server.start(self.port, START_LIMIT)?;
        Ok(())
    }

    /// Starts again on the same port with nothing: what a lost volume looks like.
    pub fn restart_empty(&mut self) -> Result<()> {
        self.process.kill();
        fs::remove_dir_all(self.dir.join("appendonlydir"))?;
        self.restart()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
