//! A terminal that runs the commands of a document exactly as written (K16).

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use rocketmart_harness::{
    documents::{self, Block},
    process,
};
use rocketmart_shop::Kubectl;

/// A block that takes longer than this hangs.
const LIMIT: &str = "4m";

/// The blocks of shell in a document of this checkout.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
    documents::blocks(&fs::read_to_string(path).unwrap())
}

/// bash with the cluster's kubectl, and with the values that a reader fills in for names that a document
/// leaves open.
pub(crate) struct Terminal {
    folder: PathBuf,
    names: Vec<(&'static str, String)>,
}

impl Terminal {
    pub(crate) fn open(kubectl: &Kubectl, names: Vec<(&'static str, String)>) -> Self {
        let folder = process::scratch("terminal").unwrap();
        symlink(&kubectl.program, folder.join("kubectl")).unwrap();
        Self { folder, names }
    }

    /// Runs commands and returns what they printed. The first command that fails fails the test.
    pub(crate) fn run(&self, commands: &str) -> String {
        self.bash(&self.filled_in(commands), "")
    }

    /// The same, typed into the shell that the first line of `opening` opens, after its other lines.
    pub(crate) fn run_inside(&self, opening: &str, commands: &str) -> String {
        let opening = self.filled_in(opening);
        let (shell, typed) = opening.split_once('\n').expect("a line");
        self.bash(shell, &format!("set -euxo pipefail\n{typed}{}", self.filled_in(commands)))
    }

    fn filled_in(&self, commands: &str) -> String {
        self.names.iter().fold(commands.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn bash(&self, script: &str, typed: &str) -> String {
        // A background process would hold the output open.
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
        let path = format!("{}:{}", self.folder.display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("timeout")
            .args([LIMIT, "bash", "-euxo", "pipefail", "-c", &script])
            .current_dir(&self.folder)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = bash.stderr.take().unwrap();
        let told = thread::spawn(move || {
            let mut told = String::new();
            stderr.read_to_string(&mut told).map(|_| told)
        });
        // A shell that has ended reads no more; the code below says why it ended.
        let _ = bash.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = bash.wait_with_output().unwrap();
        let (told, printed) = (told.join().unwrap().unwrap(), String::from_utf8(output.stdout).unwrap());
        assert!(output.status.success(), "{}:\n{script}\n{typed}\n{printed}\n{told}", output.status);
        println!("{told}{printed}");
        printed
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
