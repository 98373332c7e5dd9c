//! The executable as a child with a data directory of its own and no model files.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{Client, PASSWORD};

/// A folder for data and models, removed at the end.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("models")).expect("a folder for models");
        Self { folder }
    }
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The executable with these arguments, in this folder, on these data, with nothing of our environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filbert"));
        command.args(arguments).arg("--data").arg(self.data()).current_dir(self.path()).env_clear();
        command.env("FILBERT_LLAMA__MODELS_DIR", self.path().join("models")).env("FILBERT_LOG__LEVEL", "warn");
        command
    }
    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the executable runs")
    }
    /// Runs a command that must succeed; what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
    /// Runs a command that must fail; what it said.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
    /// Starts a server on a free port and waits until it says that it is ready.
    pub fn serve(&self) -> Server {
        let mut child = self.command(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the executable runs");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let ready = lines.next().expect("it says where it is").expect("text");
        let address = ready.strip_prefix("Filbert is ready: http://").unwrap_or_else(|| panic!("{ready}")).parse().expect("an address");
        Server { child, address, rest: Some(std::thread::spawn(move || lines.map_while(Result::ok).collect())) }
    }
}

/// A running server; killed when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    rest: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Server {
    pub fn nobody(&self) -> Client {
        Client::at(self.address)
    }
    pub fn with_key(&self, key: &str) -> Client {
        Client::with_key_at(self.address, key)
    }
    /// The first owner, signed in.
    pub async fn set_up(&self) -> Client {
        let owner = self.nobody();
        owner.post("/console/api/setup", json!({"email": "o@example.org", "name": "Olive", "password": PASSWORD})).await.ok(200);
        owner
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).expect("the process is there");
    }
    /// Waits for the end; its exit code and what it printed after it was ready. Panics after `patience`.
    pub async fn end(&mut self, patience: Duration) -> (Option<i32>, Vec<String>) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                let printed = self.rest.take().map(|t| t.join().expect("lines")).unwrap_or_default();
                return (status.code(), printed);
            }
            assert!(begun.elapsed() < patience, "it still runs after {patience:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("a child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
