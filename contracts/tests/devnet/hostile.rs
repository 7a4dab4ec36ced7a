use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::support::{ok, provider, start};

/// Sends bytes as a request's body, and returns the status line's code and the answer's body.
fn post(port: u16, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: devnet\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    // A body that is refused for its length may not be read to its end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("answers are text");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (code, body.to_owned())
}

fn code_of(port: u16, body: &str) -> i64 {
    let (status, answer) = post(port, body.as_bytes());
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("answers are JSON");
    assert_eq!(answer["jsonrpc"], "2.0");
    answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{body} is answered by {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_errors() {
    let devnet = start().await;
    let port = devnet.port();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{nope", "[1,", "\u{0}", "x"] {
        assert_eq!(code_of(port, body), -32700, "{body}");
    }
    // Nesting as deep as a body allows must not reach the end of a stack.
    let (status, answer) = post(port, deep.as_bytes());
    assert_eq!((status, answer.contains(r#""code":-3"#)), (200, true), "{answer}");
    let nested = format!(r#"{{"id":1,"method":"eth_call","params":[{deep}]}}"#);
    assert!(matches!(code_of(port, &nested), -32700 | -32602));
    let list = br#"[[1, "eth_chainId"]]"#;
    assert!(post(port, list).1.contains(r#""code":-32600"#));
    for body in
        ["5", "null", r#""x""#, r#"{"id":1}"#, r#"{"id":{},"method":"a"}"#, "[]", r#"{"method":1}"#]
    {
        assert_eq!(code_of(port, body), -32600, "{body}");
    }
    let call = |method: &str, params: Value| {
        code_of(port, &json!({"id": 1, "method": method, "params": params}).to_string())
    };
    assert_eq!(call("eth_nothing", json!([])), -32601);
    assert_eq!(call(&"x".repeat(1_000_000), json!([])), -32601);
    for params in
        [json!([]), json!({}), json!("x"), json!(vec![1; 100]), json!(["zz"]), json!([null])]
    {
        assert_eq!(call("eth_getBalance", params), -32602);
    }
    let me = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    for params in [
        json!([{"from": me, "gas": "0xffffffffffffffffffff"}]),
        json!([{"gasPrice": "0x1", "maxFeePerGas": "0x1"}]),
        json!([{"data": "0x1"}]),
        json!([{"data": "0x11", "input": "0x22"}]),
        json!([{}, "sometime"]),
        json!([{}, {"blockHash": 5}]),
        json!([{}, "latest", {me: {"balance": "0x1"}}]),
    ] {
        assert_eq!(call("eth_call", params.clone()), -32602, "{params}");
    }
    assert_eq!(call("eth_getLogs", json!([{"topics": vec![Value::Null; 5]}])), -32602);
    assert_eq!(call("eth_feeHistory", json!(["0x1", "latest", [101.0]])), -32602);
    assert_eq!(call("evm_revert", json!(["-1"])), -32602);
    // It still works.
    assert_eq!(ok(&provider(&devnet, 0), "eth_blockNumber", json!([])).await, json!("0x0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_is_refused() {
    let devnet = start().await;
    let (status, _) = post(devnet.port(), &vec![b' '; 5 * 1024 * 1024 + 1]);
    assert_eq!(status, 413);
    assert_eq!(code_of(devnet.port(), &" ".repeat(5 * 1024 * 1024)), -32700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_in_order_and_bounded() {
    let devnet = start().await;
    let batch = r#" [{"id":1,"method":"eth_chainId"}, 7, {"id":"a","method":"x","params":null},
        {"method":"eth_chainId"}, {"id":null,"method":"eth_blockNumber","params":[]}]"#;
    let (status, answer) = post(devnet.port(), batch.as_bytes());
    assert_eq!(status, 200);
    let answers: Vec<Value> = serde_json::from_str(&answer).unwrap();
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!(1), &Value::Null, &json!("a"), &Value::Null]);
    assert_eq!(answers[0]["result"], "0x7a69");
    assert_eq!(answers[1]["error"]["code"], -32600);
    assert_eq!(answers[2]["error"]["code"], -32601);
    assert_eq!(answers[3]["result"], "0x0");

    let many = format!("[{}]", vec![r#"{"id":1,"method":"eth_chainId"}"#; 1_001].join(","));
    assert_eq!(code_of(devnet.port(), &many), -32600);
    // Nobody waits for the answer to a notification.
    assert_eq!(post(devnet.port(), br#"{"method":"eth_chainId"}"#), (204, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_runs_out_of_gas() {
    let devnet = start().await;
    // Creation code `JUMPDEST PUSH0 JUMP`, with all the gas that there is.
    let request = json!({"id": 1, "method": "eth_call", "params": [{"data": "0x5b5f56", "gas": "0xffffffffffff"}]});
    assert_eq!(code_of(devnet.port(), &request.to_string()), -32603);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_is_no_call() {
    let devnet = start().await;
    let mut stream = TcpStream::connect(("127.0.0.1", devnet.port())).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}
