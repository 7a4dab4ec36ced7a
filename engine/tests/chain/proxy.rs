//! A node that misbehaves: a few lines of HTTP before a good one, with a plan for each request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use alloy::transports::http::reqwest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The connection is closed, and the node hears nothing of it.
    Lost,
    /// The node does it, and the answer is lost.
    AnswerLost,
    /// An HTTP status without a body.
    Status(u16),
    /// A JSON-RPC error.
    Error(i64, &'static str),
    /// This is added to the array that the node answers.
    Added(Value),
}

type Plan = dyn FnMut(&str, &Value) -> Fault + Send;

pub(crate) struct Proxy {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// `plan` gets every request's method and parameters.
    pub(crate) async fn start(
        upstream: &str,
        plan: impl FnMut(&str, &Value) -> Fault + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.to_owned();
        let plan: Arc<Mutex<Box<Plan>>> = Arc::new(Mutex::new(Box::new(plan)));
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let methods = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (upstream, plan) = (upstream.clone(), Arc::clone(&plan));
                let methods = Arc::clone(&methods);
                tokio::spawn(async move {
                    // A client that goes away is its own business.
                    let _ = serve(stream, &upstream, &plan, &methods).await;
                });
            }
        });
        Self { url, seen, task }
    }

    /// One fault for each of the next requests of a method, then none.
    pub(crate) async fn faults(upstream: &str, method: &'static str, faults: Vec<Fault>) -> Self {
        let mut left = VecDeque::from(faults);
        let plan = move |called: &str, _: &Value| match called == method {
            true => left.pop_front().unwrap_or(Fault::None),
            false => Fault::None,
        };
        Self::start(upstream, plan).await
    }

    /// How often a method was called.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == method).count()
    }
}

async fn serve(
    mut stream: TcpStream,
    upstream: &str,
    plan: &Mutex<Box<Plan>>,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let body = read_body(&mut stream).await?;
    let request: Value = serde_json::from_slice(&body).ok()?;
    let method = request["method"].as_str()?.to_owned();
    seen.lock().unwrap().push(method.clone());
    let fault = plan.lock().unwrap()(&method, &request["params"]);
    let answer = match fault {
        Fault::Lost => return None,
        Fault::Status(status) => return respond(&mut stream, status, "").await,
        Fault::Error(code, message) => {
            let error = json!({ "code": code, "message": message });
            json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
        }
        Fault::AnswerLost => {
            forward(upstream, body).await?;
            return None;
        }
        Fault::None => forward(upstream, body).await?,
        Fault::Added(more) => {
            let mut answer = forward(upstream, body).await?;
            let all = answer["result"].as_array_mut()?;
            all.extend(more.as_array()?.iter().cloned());
            answer
        }
    };
    respond(&mut stream, 200, &answer.to_string()).await
}

async fn read_body(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.split("content-length:").nth(1)?.lines().next()?.trim().parse();
            let body = bytes.split_off(end + 4);
            return read_rest(stream, body, length.ok()?).await;
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
    }
}

async fn read_rest(stream: &mut TcpStream, mut body: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    let have = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[have..]).await.ok()?;
    Some(body)
}

async fn forward(upstream: &str, body: Vec<u8>) -> Option<Value> {
    let client = reqwest::Client::builder().no_proxy().build().ok()?;
    let request = client.post(upstream).header("content-type", "application/json").body(body);
    let bytes = request.send().await.ok()?.bytes().await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

async fn respond(stream: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
