//! One Redis with `appendfsync always`: when it has answered, the write is on disk.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use super::certificates::Certificates;
use crate::{
    ports,
    process::{self, Process, Server},
};

/// A Redis process and its data directory; dropping this removes both.
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
        Self::start_on(ports::free_port()?)
    }

    pub fn start_on(port: u16) -> Result<Self> {
        Self::start_in(port, process::scratch("redis")?, &[])
    }

    /// Keeps its data in the caller's directory, which is removed in the end. The settings replace or extend
    /// the usual ones, e.g. `("--appendfsync", "no")`.
    pub fn start_in(port: u16, dir: PathBuf, settings: &[(&str, &str)]) -> Result<Self> {
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
                // See charts/backing-services/templates/redis.yaml.
                ("--auto-aof-rewrite-min-size", "512mb".into()),
            ]
            .into_iter()
            .chain(settings.iter().map(|(flag, value)| (*flag, (*value).to_owned())))
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect(),
            environment: vec![],
            log: dir.join("redis.log"),
            user: None,
        };
        let process = server.start(port, START_LIMIT)?;
        Ok(Self { server, process, port, dir })
    }

    /// Starts a Redis that speaks only TLS.
    pub fn start_with_tls() -> Result<Self> {
        let (port, dir) = (ports::free_port()?, process::scratch("redis")?);
        let made = Certificates::make(&dir)?;
        let [certificate, key, authority] =
            [&made.certificate, &made.key, &made.authority].map(|file| file.display().to_string());
        let tls_port = port.to_string();
        let settings = [
            ("--port", "0"),
            ("--tls-port", tls_port.as_str()),
            ("--tls-cert-file", &certificate),
            ("--tls-key-file", &key),
            ("--tls-ca-cert-file", &authority),
            ("--tls-auth-clients", "no"),
        ];
        Self::start_in(port, dir, &settings)
    }

    /// PEM file of the authority that signed the certificate of [`Self::start_with_tls`].
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The folder with its data and its log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL; the data stays for [`Redis::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name, e.g. `STOP` and `CONT` for a Redis that hangs.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Starts again as [`Redis::restart`] does, without waiting until it answers.
    pub fn begin_restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.server.spawn()?;
        Ok(())
    }

    /// Whether its process still runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.process.wait_for(Duration::ZERO)?.is_none())
    }

    /// Starts again on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.server.start(self.port, START_LIMIT)?;
        Ok(())
    }

    /// Starts again on the same port with nothing, as after a lost volume.
    pub fn restart_empty(&mut self) -> Result<()> {
        self.process.kill();
        fs::remove_dir_all(self.data())?;
        self.restart()
    }

    /// A copy of its data as it is now, in a directory that is removed with this Redis.
    pub fn copy_data(&self) -> Result<PathBuf> {
        let copy = self.dir.join("copy");
        copy_files(&self.data(), &copy)?;
        Ok(copy)
    }

    /// Starts again on the same port with a copy of its data, as from a restored backup.
    pub fn restart_from(&mut self, copy: &Path) -> Result<()> {
        self.process.kill();
        fs::remove_dir_all(self.data())?;
        copy_files(copy, &self.data())?;
        self.restart()
    }

    fn data(&self) -> PathBuf {
        self.dir.join("appendonlydir")
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
