//! Child processes that never outlive what started them.
//!
//! A server that a test started must end with the test process, even if that is killed. The kernel takes care
//! of it: each child asks for a signal when its parent dies (`setpriv --pdeathsig`). The parent in that sense
//! is the *thread* that forked, so one thread that lives as long as the process forks all children.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::step;

type Reply = mpsc::Sender<io::Result<Child>>;

static FORKER: LazyLock<Mutex<mpsc::Sender<(Command, Reply)>>> = LazyLock::new(|| {
    let (requests, inbox) = mpsc::channel::<(Command, Reply)>();
    thread::spawn(move || {
        for (mut command, reply) in inbox {
            let _ = reply.send(command.spawn());
        }
    });
    Mutex::new(requests)
});

fn fork(command: Command) -> Result<Child> {
    let (reply, answer) = mpsc::channel();
    FORKER
        .lock()
        .map_err(|_| anyhow!("the forking thread is gone"))?
        .send((command, reply))
        .map_err(|_| anyhow!("the forking thread is gone"))?;
    Ok(answer.recv()??)
}

/// A program to run as a server: its arguments, its log and, if it refuses root, a user.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub log: PathBuf,
    /// The user to run as when we are root, because PostgreSQL refuses to run as root.
    pub user: Option<&'static str>,
}

impl Server {
    /// Starts it and waits until `port` on loopback accepts connections.
    pub fn start(&self, port: u16, limit: Duration) -> Result<Process> {
        let mut process = self.spawn()?;
        let deadline = Instant::now() + limit;
        while !accepts(port) {
            if let Some(status) = process.child.try_wait()? {
                bail!("{} ended with {status} before it listened\n{}", self.name, step::tail(&self.log));
            }
            if Instant::now() >= deadline {
                bail!("{} did not listen within {} s\n{}", self.name, limit.as_secs(), step::tail(&self.log));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&self) -> Result<Process> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("opening {}", self.log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self.user.filter(|_| running_as_root()) {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command
            .arg(&self.program)
            .args(&self.arguments)
            // A log that is shown after a failure should end with the error, not with its backtrace.
            .env("RUST_LIB_BACKTRACE", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = fork(command).with_context(|| format!("starting {}", self.name))?;
        Ok(Process { child })
    }
}

/// A running server; dropping this ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a crash would be.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name, e.g. `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(&self.child, name)
    }

    /// Waits at most `limit` for its end; `None` if it still runs.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        wait_for(&mut self.child, limit)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn signal(child: &Child, name: &str) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status()?;
    if !status.success() {
        bail!("no process {} to send SIG{name}", child.id());
    }
    Ok(())
}

pub(crate) fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether something accepts connections on this loopback port.
pub fn accepts(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Whether this process runs as root.
pub fn running_as_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0")))
}

/// A fresh directory of this process under the system's temporary directory.
///
/// Statics are never dropped, so this also removes what the shared servers of ended test processes left.
pub fn scratch(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    if count == 0 {
        remove_left_behind();
    }
    let dir = std::env::temp_dir().join(format!("{SCRATCH_PREFIX}{}-{count}-{name}", std::process::id()));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

const SCRATCH_PREFIX: &str = "rocketmart-run-";

/// Removes scratch directories whose process is gone.
fn remove_left_behind() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let owner = file_name
            .to_str()
            .and_then(|name| name.strip_prefix(SCRATCH_PREFIX))
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
