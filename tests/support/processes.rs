//! The real processes of a deployment: a chain, providers, watchers, each with its own key, database and log file.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Newest lines of a log that a failed test shows.
const LOG_LINES_MAX: usize = 200;

/// A process that dies with its owner.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts a program; its output goes to `log`, after what is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(mut command: Command, log: PathBuf) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        Ok(Self { child: command.spawn()?, log })
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The path of one of our binaries: in `$REFUTE_BIN`, else beside this test or program, where `cargo test --workspace` puts
/// all of them.
///
/// # Panics
/// If it isn't built.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a program knows where it is");
    let beside = here.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let asked = std::env::var_os("REFUTE_BIN").map(|folder| Path::new(&folder).join(name));
    asked
        .into_iter()
        .chain(beside)
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace`"))
}

/// A chain with the contracts on it, and a folder for everybody's files.
#[derive(Debug)]
pub struct Net {
    /// Everybody's files.
    pub folder: PathBuf,
    /// JSON-RPC.
    pub rpc: String,
    /// Funded private keys; the first one deployed.
    pub keys: Vec<String>,
    /// What `refute deploy --json` printed.
    pub deployment: Value,
    /// The chain's own process.
    pub chain: Process,
}

/// Where anvil is: `$REFUTE_ANVIL`, or where `scripts/contracts.sh` installs it. `None`, with a line on standard error, where it
/// isn't there and `$REFUTE_REQUIRE_TOOLS` doesn't ask for it.
///
/// # Panics
/// If it is required and missing.
pub fn anvil() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/node_modules");
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    // The program itself: the script that npm puts beside it would leave it running when it is killed.
    let program = format!("@foundry-rs/anvil-{system}-{machine}/bin/anvil");
    let asked = std::env::var_os("REFUTE_ANVIL").map(PathBuf::from);
    let candidates = [asked, Some(installed.join(program)), Some(installed.join(".bin/anvil"))];
    let found = candidates.into_iter().flatten().find(|path| path.exists());
    if found.is_none() {
        let required = std::env::var_os("REFUTE_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "anvil is required: run scripts/contracts.sh, or set REFUTE_ANVIL");
        eprintln!("SKIPPED: no anvil; scripts/contracts.sh installs it");
    }
    found
}

/// Which chain runs.
#[derive(Clone, Debug)]
pub enum ChainKind {
    /// `refute devnet`, with these arguments.
    Devnet(Vec<String>),
    /// anvil, at this path.
    Anvil(PathBuf),
}

impl Net {
    /// Starts a chain and deploys the contracts with these arguments of `refute deploy`.
    ///
    /// # Errors
    /// What a process says.
    pub fn start(folder: &Path, kind: &ChainKind, deploy: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (chain, rpc, keys) = match kind {
            ChainKind::Devnet(args) => start_devnet(folder, args)?,
            ChainKind::Anvil(path) => start_anvil(folder, path)?,
        };
        let mut net = Self { folder: folder.to_owned(), rpc, keys, deployment: Value::Null, chain };
        net.deploy(deploy)?;
        Ok(net)
    }

    /// Deploys the contracts with these arguments of `refute deploy`.
    ///
    /// # Errors
    /// What the process says.
    pub fn deploy(&mut self, deploy: &[&str]) -> anyhow::Result<()> {
        let args = [&["deploy", "--rpc", &self.rpc, "--key", &self.keys[0]], deploy].concat();
        self.deployment = self.refute(&args)?;
        Ok(())
    }

    /// Kills the chain, which keeps nothing, and starts a devnet with these arguments at the same port.
    ///
    /// # Errors
    /// What the process says.
    pub fn replace_chain(&mut self, args: &[&str]) -> anyhow::Result<()> {
        self.chain.kill();
        let port = self.rpc.rsplit(':').next().unwrap_or_default();
        self.chain = devnet(&self.folder.join("devnet-again.log"), port, args)?;
        wait_for_line(&self.chain, |line| line.starts_with('{'))?;
        Ok(())
    }

    /// What every process has written, for the message of a failed test.
    pub fn logs(&self) -> String {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = files.map(|file| file.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "log"));
        paths.sort();
        let tail = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n");
            format!("---- {}\n{last}\n", path.display())
        };
        paths.iter().map(tail).collect()
    }

    /// Runs a `refute` command to its end and gives its JSON.
    ///
    /// # Errors
    /// Its message, if it fails.
    pub fn refute(&self, args: &[&str]) -> anyhow::Result<Value> {
        run_json(self.command("refute").args(args))
    }

    /// Runs a `refute-watcher` command to its end and gives its JSON.
    ///
    /// # Errors
    /// Its message, if it fails.
    pub fn watcher(&self, args: &[&str]) -> anyhow::Result<Value> {
        run_json(self.command("refute-watcher").args(args))
    }

    /// A command of one of our binaries, in this net's home.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(binary(name));
        command.env("REFUTE_HOME", self.folder.join("home")).env("NO_COLOR", "1");
        command
    }

    /// Starts `refute provider` as `name` with this key and these arguments.
    ///
    /// # Errors
    /// What the system says.
    pub fn provider(
        &self,
        name: &str,
        key: &str,
        model: &str,
        args: &[&str],
    ) -> std::io::Result<Process> {
        let mut command = self.command("refute");
        let db = self.folder.join(format!("{name}.db"));
        command.args(["provider", "--rpc", &self.rpc, "--key", key, "--model", model]);
        command.arg("--db").arg(db).args(args);
        Process::start(command, self.folder.join(format!("{name}.log")))
    }

    /// Starts `refute-watcher run` as `name` with this key and these arguments.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch(
        &self,
        name: &str,
        key: &str,
        model: &str,
        args: &[&str],
    ) -> std::io::Result<Process> {
        let mut command = self.command("refute-watcher");
        let db = self.folder.join(format!("{name}.db"));
        command.args(["run", "--rpc", &self.rpc, "--key", key, "--model", model]);
        command.arg("--db").arg(db).args(args);
        Process::start(command, self.folder.join(format!("{name}.log")))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

fn run_json(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.arg("--json").stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?}: {error}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

type Started = (Process, String, Vec<String>);

fn devnet(log: &Path, port: &str, args: &[impl AsRef<OsStr>]) -> std::io::Result<Process> {
    let mut command = Command::new(binary("refute"));
    command.args(["devnet", "--json", "--port", port]).args(args);
    Process::start(command, log.to_owned())
}

fn start_devnet(folder: &Path, args: &[String]) -> anyhow::Result<Started> {
    let chain = devnet(&folder.join("devnet.log"), "0", args)?;
    let ready: Value = serde_json::from_str(&wait_for_line(&chain, |line| line.starts_with('{'))?)?;
    let url = ready["url"].as_str().unwrap_or_default().to_owned();
    let keys = ready["accounts"].as_array().into_iter().flatten();
    let keys = keys.filter_map(|a| a["key"].as_str().map(str::to_owned)).collect();
    Ok((chain, url, keys))
}

fn start_anvil(folder: &Path, path: &Path) -> anyhow::Result<Started> {
    let mut command = Command::new(path);
    // What its memory has no room for goes with the folder: it is killed, and cleans up nothing.
    command.args(["--port", "0", "--cache-path"]).arg(folder.join("anvil"));
    let chain = Process::start(command, folder.join("anvil.log"))?;
    let listening = wait_for_line(&chain, |line| line.starts_with("Listening on"))?;
    let address = listening.trim_start_matches("Listening on").trim();
    let keys = refute_contracts::devnet::DEV_KEYS.iter().map(|key| key.to_string()).collect();
    Ok((chain, format!("http://{address}"), keys))
}

/// Waits, at most 30 seconds, for a whole line of a process's output.
fn wait_for_line(process: &Process, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    for _ in 0..600 {
        let text = process.output();
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        if let Some(line) = lines.find(|line| wanted(line)) {
            return Ok(line.trim_end().to_owned());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    anyhow::bail!("{} never said that it is ready: {}", process.log.display(), process.output())
}
