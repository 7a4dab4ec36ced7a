//! The kernels in a browser: the same WGSL and the same cases, through Chromium's WebGPU, which
//! compiles with Tint where wgpu has naga. A page runs them and hands back what came out; the
//! comparison is made here.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use refute_kernels::gpu::{Case, Kernel, vectors};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Longest that the browser may take for everything.
const PAGE_MAX: Duration = Duration::from_secs(600);
/// Random cases a kernel, if `REFUTE_GPU_CASES` doesn't say.
const RANDOM: u64 = 100;
/// Largest result of a case.
const RESULT_BYTES_MAX: usize = 64 << 20;

/// What the page is given, and what it has handed back.
struct Run {
    cases: Vec<Case>,
    /// By case: not yet, right, or the difference.
    results: Mutex<Vec<Option<Result<(), String>>>>,
    /// What the page said last.
    end: Mutex<Option<Value>>,
    ended: Notify,
}

/// The body of `GET case/N`, see `page.js`.
fn encode(case: &Case) -> Vec<u8> {
    let mut op = case.op.clone();
    op.resize(op.len().next_multiple_of(4), 0);
    let batch = case.batch.to_vec();
    let buffers: Vec<_> =
        [&batch, &op].into_iter().chain(&case.inputs).chain(&case.outputs).collect();
    let header = json!({
        "kernel": Kernel::ALL.iter().position(|k| *k == case.variant.kernel),
        "constants": case.variant.constants.iter().copied().collect::<BTreeMap<_, _>>(),
        "groups": case.groups,
        "writes": case.outputs.len(),
        "words": buffers.iter().map(|b| b.len()).collect::<Vec<_>>(),
    });
    let header = header.to_string().into_bytes();
    let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(buffers.into_iter().flatten().flat_map(|word| word.to_le_bytes()));
    bytes
}

async fn kernels(State(run): State<Arc<Run>>) -> impl IntoResponse {
    let kernels = Kernel::ALL.map(|kernel| {
        let (reads, writes) = kernel.storage();
        let (name, source) = (kernel.name(), kernel.source());
        json!({ "name": name, "source": source, "reads": reads, "writes": writes })
    });
    axum::Json(json!({ "kernels": kernels, "cases": run.cases.len() }))
}

async fn case(State(run): State<Arc<Run>>, Path(index): Path<usize>) -> impl IntoResponse {
    run.cases.get(index).map(encode).ok_or(StatusCode::NOT_FOUND)
}

async fn result(State(run): State<Arc<Run>>, Path(index): Path<usize>, body: Bytes) -> StatusCode {
    let Some(case) = run.cases.get(index) else { return StatusCode::NOT_FOUND };
    let mut words = body.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    let found: Vec<Vec<u32>> =
        case.outputs.iter().map(|w| words.by_ref().take(w.len()).collect()).collect();
    let result = match case.difference(&found) {
        None => Ok(()),
        Some(difference) => {
            Err(format!("{}, {}: {difference}", case.variant.kernel.name(), case.name))
        }
    };
    run.results.lock().expect("no panic holds it")[index] = Some(result);
    StatusCode::OK
}

async fn end(State(run): State<Arc<Run>>, body: Bytes) {
    let said = serde_json::from_slice(&body).unwrap_or(Value::Null);
    *run.end.lock().expect("no panic holds it") = Some(said);
    run.ended.notify_one();
}

fn router(run: Arc<Run>) -> Router {
    let script = [(header::CONTENT_TYPE, "text/javascript")];
    let html = [(header::CONTENT_TYPE, "text/html")];
    Router::new()
        .route("/", get(move || async move { (html, include_str!("../browser/index.html")) }))
        .route("/page.js", get(move || async move { (script, include_str!("../browser/page.js")) }))
        .route("/kernels", get(kernels))
        .route("/case/{index}", get(case).post(result))
        .route("/end", post(end))
        .layer(DefaultBodyLimit::max(RESULT_BYTES_MAX))
        .with_state(run)
}

/// The program: `REFUTE_CHROMIUM`, else the first of its usual names.
fn chromium() -> PathBuf {
    if let Some(path) = std::env::var_os("REFUTE_CHROMIUM") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file())
        .expect("chromium is needed: scripts/drivers.sh installs it")
}

/// A browser and all of its processes; they end with it.
struct Browser {
    child: Child,
    profile: tempfile::TempDir,
}

impl Browser {
    fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let log = std::fs::File::create(profile.path().join("log")).expect("a file for its log");
        let child = Command::new(chromium())
            .args(["--headless=new", "--no-sandbox", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-dev-shm-usage", "--disable-extensions", "--mute-audio"])
            .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("chromium starts");
        Self { child, profile }
    }

    /// The end of what it has said.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.profile.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are in its group: the group's number is its own.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cases() -> Vec<Case> {
    let random = std::env::var("REFUTE_GPU_CASES").map_or(RANDOM, |n| n.parse().expect("a number"));
    let of = |kernel| {
        let random = (0..random).map(move |seed| vectors::random(kernel, seed));
        vectors::special(kernel).into_iter().chain(random)
    };
    let mut cases: Vec<_> = Kernel::ALL.into_iter().flat_map(of).collect();
    // The last one has a wrong answer: it has to be found out.
    let mut wrong = cases[0].clone();
    wrong.expected[0][0] ^= 1;
    cases.push(wrong);
    cases
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium: scripts/test.sh gpu"]
async fn a_browser_computes_the_same_bits() {
    let cases = cases();
    let count = cases.len() - 1;
    let run = Arc::new(Run {
        cases,
        results: Mutex::new(vec![None; count + 1]),
        end: Mutex::default(),
        ended: Notify::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let server = axum::serve(listener, router(Arc::clone(&run))).into_future();
    let server = tokio::spawn(server);
    let browser = Browser::open(&url);
    let ended = tokio::time::timeout(PAGE_MAX, run.ended.notified()).await;
    let log = browser.log();
    drop(browser);
    server.abort();

    let results = run.results.lock().expect("no panic holds it");
    let (results, wrong) = results.split_at(count);
    let right = results.iter().filter(|r| matches!(r, Some(Ok(())))).count();
    if let Some(Err(difference)) = results.iter().flatten().find(|r| r.is_err()) {
        panic!("{right} of {count} cases are right; the first that isn't: {difference}");
    }
    ended.unwrap_or_else(|_| panic!("no answer in {PAGE_MAX:?}, {right} of {count} ran:\n{log}"));
    let end = run.end.lock().expect("no panic holds it").take().expect("the page said something");
    assert!(end["error"].is_null(), "{}\n{log}", end["error"]);
    assert_eq!(right, count, "cases that ran");
    assert!(matches!(wrong, [Some(Err(_))]), "a wrong answer is found out, not {wrong:?}");
    println!("{count} cases on {}", end["adapter"]);
}
