//! JSON-RPC over HTTP: requests in, answers out, every size bounded.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use alloy::rpc::json_rpc::Id;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::chain::Chain;
use super::error::{ErrorObject, RpcError};
use super::methods::{Answer, Method, method};
use super::params::Params;

/// Longest request body.
const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Most requests of a batch.
const BATCH_MAX: usize = 1_000;

/// Results of one batch end here: the rest are errors.
const BATCH_BYTES_MAX: usize = 25 * 1024 * 1024;

/// Requests that are worked on at a time; others wait.
const CONCURRENT_MAX: usize = 32;

/// The chain as the requests share it.
pub(crate) type SharedChain = Arc<RwLock<Chain>>;

#[derive(Clone)]
struct Shared {
    chain: SharedChain,
    permits: Arc<Semaphore>,
}

/// The HTTP service.
pub(crate) fn router(chain: SharedChain) -> Router {
    let permits = Arc::new(Semaphore::new(CONCURRENT_MAX));
    Router::new()
        .route("/", post(handle))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Shared { chain, permits })
}

async fn handle(State(shared): State<Shared>, body: Bytes) -> HttpResponse {
    let Ok(permit) = shared.permits.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // An execution can take long: it must not hold up the other connections.
    let answered = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        answer_body(&shared.chain, &body)
    });
    match answered.await {
        Ok(Some(json)) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// One request as JSON-RPC 2.0 defines it.
#[derive(Deserialize)]
struct Request<'a> {
    /// None if there is none: then nobody waits for an answer.
    #[serde(default, deserialize_with = "present")]
    id: Option<Id>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Tells `"id": null` from no id.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Id>, D::Error> {
    Id::deserialize(from).map(Some)
}

/// An answer: either a result or an error.
#[derive(Serialize)]
struct Response {
    jsonrpc: &'static str,
    id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject>,
}

impl Response {
    fn new(id: Id, answer: Answer) -> Self {
        let (result, error) = match answer {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error.object())),
        };
        Self { jsonrpc: "2.0", id, result, error }
    }

    /// For a request whose id is not known.
    fn failed(error: RpcError) -> Self {
        Self::new(Id::None, Err(error))
    }
}

/// The body of the answer; none if the body was notifications only.
fn answer_body(chain: &SharedChain, body: &[u8]) -> Option<Vec<u8>> {
    if first_byte(body) == Some(b'[') {
        answer_batch(chain, body)
    } else {
        to_body(&answer_one(chain, body)?)
    }
}

fn answer_batch(chain: &SharedChain, body: &[u8]) -> Option<Vec<u8>> {
    let batch: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(batch) => batch,
        Err(e) => return to_body(&Response::failed(RpcError::Parse(e.to_string()))),
    };
    if batch.is_empty() || batch.len() > BATCH_MAX {
        let error = RpcError::Request(format!("a batch has 1 to {BATCH_MAX} requests"));
        return to_body(&Response::failed(error));
    }
    let mut bytes = 0;
    let mut responses = Vec::new();
    for request in batch {
        if bytes > BATCH_BYTES_MAX {
            responses.push(Response::failed(RpcError::rejected("response too large")));
            break;
        }
        let Some(response) = answer_one(chain, request.get().as_bytes()) else { continue };
        bytes += response.result.as_ref().map_or(0, |result| result.get().len());
        responses.push(response);
    }
    if responses.is_empty() { None } else { to_body(&responses) }
}

fn to_body<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// The first byte that is not white space.
fn first_byte(json: &[u8]) -> Option<u8> {
    json.iter().find(|byte| !byte.is_ascii_whitespace()).copied()
}

fn read_request(json: &[u8]) -> Result<Request<'_>, RpcError> {
    let error = |e: serde_json::Error| {
        if e.is_data() { RpcError::Request(e.to_string()) } else { RpcError::Parse(e.to_string()) }
    };
    // serde would also take a list of the fields.
    if first_byte(json) != Some(b'{') {
        serde_json::from_slice::<IgnoredAny>(json).map_err(error)?;
        return Err(RpcError::Request("it is not an object".to_owned()));
    }
    serde_json::from_slice(json).map_err(error)
}

/// Answers one request; none if it was a notification.
fn answer_one(chain: &SharedChain, json: &[u8]) -> Option<Response> {
    let request = match read_request(json) {
        Ok(request) => request,
        Err(error) => return Some(Response::failed(error)),
    };
    let answer = dispatch(chain, &request);
    if let Err(error) = &answer {
        tracing::debug!(method = %request.method, %error, "refused");
    }
    Some(Response::new(request.id?, answer))
}

fn dispatch(chain: &SharedChain, request: &Request<'_>) -> Answer {
    // The name is echoed, so it is cut to a length that no honest one has.
    let unknown = || RpcError::Method(request.method.chars().take(64).collect());
    let method = method(&request.method).ok_or_else(unknown)?;
    let params = Params::new(request.params)?;
    // A panic under the lock would be a bug of ours; blocks are replaced whole, so what is there is
    // still consistent.
    match method {
        Method::Read(run) => run(&chain.read().unwrap_or_else(PoisonError::into_inner), params),
        Method::Write(run) => {
            run(&mut chain.write().unwrap_or_else(PoisonError::into_inner), params)
        }
    }
}
