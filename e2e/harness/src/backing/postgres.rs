//! One PostgreSQL server; each test has its own database.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    ports,
    process::{self, Process, Server},
};

/// A PostgreSQL process and its data directory; dropping this removes both.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    process: Process,
    port: u16,
    dir: PathBuf,
}

const START_LIMIT: Duration = Duration::from_mins(1);

impl Postgres {
    pub fn start() -> Result<Self> {
        Self::start_on(ports::free_port()?)
    }

    pub fn start_on(port: u16) -> Result<Self> {
        let dir = process::scratch("postgres")?;
        let data = data(&dir);
        let bin = binaries()?;
        if let Some(user) = as_postgres() {
            run(Command::new("chown").arg(user).arg(&dir))?;
        }
        initdb(&data)?;
        let server = Server {
            name: "postgres",
            program: bin.join("postgres"),
            arguments: vec![
                "-D".into(),
                data.display().to_string(),
                "-p".into(),
                port.to_string(),
                "-c".into(),
                "listen_addresses=127.0.0.1".into(),
                "-c".into(),
                format!("unix_socket_directories={}", dir.display()),
                "-c".into(),
                "max_connections=300".into(),
            ],
            environment: vec![],
            log: dir.join("postgres.log"),
            user: as_postgres(),
        };
        // The server writes its log through our descriptor, so root may own the file.
        let process = server.start(port, START_LIMIT)?;
        let postgres = Self { server, process, port, dir };
        postgres.wait_until_it_answers()?;
        Ok(postgres)
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

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// A new, empty database.
    pub fn create_database(&self, name: &str) -> Result<()> {
        create_database(self.port, name)
    }

    /// Writes a database to a file, as it is at one moment.
    pub fn dump(&self, database: &str, into: &Path) -> Result<()> {
        let mut dump = Command::new(binaries()?.join("pg_dump"));
        run(dump.args(["--format=custom", "--file"]).arg(into).arg(self.url(database)))
    }

    /// Fills an empty database from such a file.
    pub fn restore(&self, database: &str, from: &Path) -> Result<()> {
        let mut restore = Command::new(binaries()?.join("pg_restore"));
        run(restore.args(["--exit-on-error", "--no-owner", "--dbname"]).arg(self.url(database)).arg(from))
    }

    /// Starts again on the same port with nothing, as after a lost volume.
    pub fn restart_empty(&mut self) -> Result<()> {
        self.process.kill();
        let data = data(&self.dir);
        // Children of the killed server may still be writing.
        crate::step::wait_until("the killed PostgreSQL to leave its data", START_LIMIT, || {
            fs::remove_dir_all(&data).is_ok()
        })?;
        initdb(&data)?;
        self.restart()
    }

    /// Runs one statement in the database `postgres`.
    pub fn execute(&self, statement: &str) -> Result<()> {
        self.execute_in("postgres", statement)
    }

    /// Runs one statement in a database.
    pub fn execute_in(&self, database: &str, statement: &str) -> Result<()> {
        execute(&self.url(database), statement)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL; the data stays for [`Postgres::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name to the server's first process.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Starts again as [`Postgres::restart`] does, without waiting until it answers.
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
        // The killed server's children leave when they notice. Until then a new server refuses to share its
        // memory with them.
        let deadline = Instant::now() + START_LIMIT;
        self.process = loop {
            match self.server.start(self.port, START_LIMIT) {
                Ok(process) => break process,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        };
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        crate::step::wait_until("PostgreSQL to answer a query", START_LIMIT, || {
            self.execute("SELECT 1").is_ok()
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.process.signal("QUIT");
        let _ = self.process.wait_for(Duration::from_secs(5));
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The URL of a database of the server at this port.
pub(super) fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// A new, empty database of the server at this port.
pub(super) fn create_database(port: u16, name: &str) -> Result<()> {
    execute(&url(port, "postgres"), &format!("CREATE DATABASE \"{name}\""))
}

fn execute(url: &str, statement: &str) -> Result<()> {
    run(Command::new(binaries()?.join("psql"))
        .args(["-qX", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .arg(url))
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// The user that the server runs as: it refuses to run as root.
fn as_postgres() -> Option<&'static str> {
    process::running_as_root().then_some("postgres")
}

/// The settings of the image in `images/postgres`.
const SETTINGS: &str = include_str!("../../../../images/postgres/shop.conf");

/// Makes an empty data directory.
fn initdb(data: &Path) -> Result<()> {
    let program = binaries()?.join("initdb");
    let mut initdb = match as_postgres() {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--init-groups"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    run(initdb.arg("--pgdata").arg(data).args([
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]))?;
    let configuration = data.join("postgresql.conf");
    let defaults = fs::read_to_string(&configuration)?;
    fs::write(&configuration, defaults + SETTINGS).with_context(|| configuration.display().to_string())
}

/// Debian keeps the server's programs outside the PATH, in a folder per version.
fn binaries() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL's server is not installed (package postgresql)")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path().join("bin")))
        .filter(|bin: &PathBuf| Path::exists(&bin.join("postgres")))
        .collect();
    versions.sort();
    versions.pop().context("no PostgreSQL server in /usr/lib/postgresql")
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
