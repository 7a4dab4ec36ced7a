//! The command line as a script sees it: JSON fields, exit codes, errors that say what to do.

use refute_tests::tiny::Shape;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A home of its own with a tiny model in it.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a folder") };
        home.write("tiny.gguf", &Shape { layers: 1, ..Shape::default() }.gguf());
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("a file");
    }

    fn refute(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_refute"))
            .args(args)
            .current_dir(self.folder.path())
            .env("REFUTE_HOME", self.path("home"))
            .output()
            .expect("the binary runs")
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.refute(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON on standard output")
    }

    fn error(&self, args: &[&str]) -> String {
        let output = self.refute(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const PROMPT: [&str; 2] = ["--prompt", "Hello, world"];

#[test]
fn a_model_is_imported_listed_and_shown() {
    let home = Home::new();
    let imported = home.json(&["model", "import", "tiny.gguf"]);
    let id = imported["model_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("0x") && id.len() == 66);
    home.write("copy.gguf", &std::fs::read(home.path("tiny.gguf")).unwrap());
    assert_eq!(home.json(&["model", "import", "copy.gguf"])["model_id"], id.as_str());
    assert_eq!(home.json(&["model", "list"]).as_array().unwrap().len(), 1);
    let shown = home.json(&["model", "show", &id[..10]]);
    assert_eq!(shown["model_id"], id.as_str());
    assert_eq!(shown["output_steps"], 30);

    let program = home.json(&["model", "program", "--model", &id, "--block", "4"]);
    let steps = program.as_array().unwrap();
    assert_eq!(steps.len(), 30);
    assert_eq!(steps[0]["name"], "token_embd");
    let scores = steps.iter().find(|s| s["name"] == "blk.0.attn_scores").unwrap();
    assert_eq!((&scores["op"], &scores["length"]), (&Value::from("scores"), &Value::from(6 * 5)));
    assert_eq!(steps[29]["name"], "sample");
}

#[test]
fn a_publishers_requirements_are_part_of_the_model_id() {
    let home = Home::new();
    let import = |more: &[&str]| {
        let command = [&["model", "import", "tiny.gguf"], more].concat();
        home.json(&command)["model_id"].as_str().unwrap().to_owned()
    };
    let plain = import(&[]);
    let wei = "340282366920938463463374607431768211455";
    let strict = import(&["--min-bond", wei, "--min-window", "86400"]);
    assert_ne!(plain, strict);
    assert_eq!(plain, import(&["--min-bond", "0", "--min-window", "0"]));
    assert_eq!(strict, import(&["--min-window", "86400", "--min-bond", wei]));
    assert_ne!(strict, import(&["--min-bond", wei]));
    let shown = home.json(&["model", "show", &strict]);
    assert_eq!(shown["model_id"], strict.as_str());
    assert_eq!((&shown["min_bond_wei"], &shown["min_window_s"]), (&wei.into(), &86_400.into()));
    assert_eq!(home.json(&["model", "show", &plain])["min_bond_wei"], "0");
    let beyond = "340282366920938463463374607431768211456";
    let refused = home.refute(&["model", "import", "tiny.gguf", "--min-bond", beyond]);
    assert!(!refused.status.success());
}

#[test]
fn an_answer_is_reproduced_and_a_changed_one_is_refused() {
    let home = Home::new();
    let run = ["run", "--model", "tiny.gguf", "--max-tokens", "5"];
    let answer = home.json(&[&run[..], &PROMPT].concat());
    for field in ["text", "trace_root", "backend"] {
        assert!(answer[field].is_string(), "{field}");
    }
    for field in ["prefill_tokens_per_s", "decode_tokens_per_s", "commit_ms"] {
        assert!(answer[field].is_number(), "{field}");
    }
    assert_eq!(answer["adapter"], Value::Null);
    let threads = [&run[..], &PROMPT, &["--threads", "1", "--backend", "reference"]].concat();
    let again = home.json(&threads);
    assert_eq!(
        (&again["tokens"], &again["trace_root"]),
        (&answer["tokens"], &answer["trace_root"])
    );

    home.write("answer.json", answer.to_string().as_bytes());
    let verify = ["verify", "--model", "tiny.gguf", "--output"];
    let verdict = home.json(&[&verify[..], &["answer.json"], &PROMPT].concat());
    assert_eq!(verdict["valid"], true);
    assert_eq!(verdict["trace_root"], answer["trace_root"]);

    let mut ids: Vec<u64> =
        answer["tokens"].as_array().unwrap().iter().map(|t| t.as_u64().unwrap()).collect();
    ids[0] = (ids[0] + 1) % 320;
    let ids = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let output = home.refute(&[&verify[..], &[&ids, "--json"], &PROMPT].concat());
    assert_eq!(output.status.code(), Some(1));
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&verdict["valid"], &verdict["first_wrong_token"]), (&false.into(), &0.into()));
    assert_eq!(verdict["expected_token"], answer["tokens"][0]);
}

#[test]
fn a_drawn_answer_is_reproduced_with_its_seed_and_temperature_only() {
    let home = Home::new();
    let run = ["run", "--model", "tiny.gguf", "--max-tokens", "5", "--backend"];
    let drawn = ["--temperature", "12.8", "--seed", "18446744073709551615"];
    let answer = home.json(&[&run[..], &["cpu"], &PROMPT, &drawn].concat());
    // The nearest multiple of 2^-16, as it is.
    assert_eq!(answer["temperature"].as_f64(), Some(838_861.0 / 65_536.0));
    assert_eq!(answer["seed"].as_u64(), Some(u64::MAX));
    let again = home.json(&[&run[..], &["reference"], &PROMPT, &drawn].concat());
    let greedy = home.json(&[&run[..], &["cpu"], &PROMPT].concat());
    assert_eq!(again["tokens"], answer["tokens"]);
    assert_eq!(again["trace_root"], answer["trace_root"]);
    assert_ne!(greedy["tokens"], answer["tokens"]);
    assert_eq!((greedy["temperature"].as_f64(), greedy["seed"].as_u64()), (Some(0.0), Some(0)));

    home.write("answer.json", answer.to_string().as_bytes());
    let verify = ["verify", "--model", "tiny.gguf", "--output", "answer.json"];
    let verify = [&verify[..], &PROMPT].concat();
    assert_eq!(home.json(&verify)["valid"], true);
    assert_eq!(home.json(&[&verify[..], &drawn].concat())["valid"], true);
    for other in [["--seed", "0"], ["--seed", "9223372036854775807"], ["--temperature", "0.00002"]]
    {
        let error = home.error(&[&verify[..], &other].concat());
        assert!(error.contains("not what the model computes"), "{error}");
    }
    let unread =
        home.error(&[&["run", "--model", "tiny.gguf", "--seed", "1"], &PROMPT[..]].concat());
    assert!(unread.contains("a greedy answer has seed 0"), "{unread}");
    for bad in ["16.1", "-1", "warm"] {
        let bad = format!("--temperature={bad}");
        let output = home.refute(&[&["run", "--model", "tiny.gguf", &bad], &PROMPT[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{bad}: {}", text(&output.stderr));
    }
}

#[test]
fn answers_are_checked_together_and_each_check_ends_at_its_first_wrong_token() {
    let home = Home::new();
    let run = ["run", "--model", "tiny.gguf", "--max-tokens", "6", "--prompt"];
    let answers = ["Hello", "a world"].map(|prompt| home.json(&[&run[..], &[prompt]].concat()));
    let len = |answer: &Value, field: &str| answer[field].as_array().unwrap().len();
    let write = |answers: &[Value]| {
        let lines: Vec<String> = answers.iter().map(Value::to_string).collect();
        home.write("answers.json", lines.join("\n").as_bytes());
    };
    write(&answers);
    let verify = |backend: &'static str| {
        ["verify", "--model", "tiny.gguf", "--backend", backend, "--claims", "answers.json"]
    };
    let reports = home.json(&verify("cpu"));
    assert_eq!(reports.as_array().unwrap().len(), 2);
    for (report, answer) in reports.as_array().unwrap().iter().zip(&answers) {
        assert_eq!(
            (&report["valid"], &report["trace_root"]),
            (&true.into(), &answer["trace_root"])
        );
        let positions = len(answer, "prompt_tokens") + len(answer, "tokens") - 1;
        assert_eq!(report["positions"], positions);
        assert_eq!(report["cost"]["positions"], positions);
        for field in ["multiply_accumulates", "bytes_read", "memory_bytes"] {
            assert!(report["cost"][field].as_u64().unwrap() > 0, "{field}");
        }
        assert!(report["cost"]["seconds"].as_f64().unwrap() > 0.0);
    }

    let [mut lie, mut root] = answers.clone();
    lie["tokens"][0] = ((lie["tokens"][0].as_u64().unwrap() + 1) % 320).into();
    assert!(len(&lie, "tokens") > 1, "there must be something to save");
    root["trace_root"] = format!("0x{}", "00".repeat(32)).into();
    let mut foreign = root.clone();
    foreign["tokens"] = vec![1_000_000].into();
    write(&[lie.clone(), root, foreign, answers[1].clone()]);
    for backend in ["reference", "cpu"] {
        let output = home.refute(&[&verify(backend)[..], &["--json"]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("3 of 4"), "{}", text(&output.stderr));
        let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
        let valid: Vec<bool> =
            reports.as_array().unwrap().iter().map(|r| r["valid"].as_bool().unwrap()).collect();
        assert_eq!(valid, [false, false, false, true]);
        // Block by block, as the reference runs, nothing is computed behind the first wrong token.
        if backend == "reference" {
            assert_eq!(reports[0]["positions"], len(&lie, "prompt_tokens"));
        }
        assert_eq!(reports[0]["expected_token"], answers[0]["tokens"][0]);
        assert_eq!(reports[0]["trace_root"], Value::Null);
        assert_eq!(reports[1]["trace_root"], answers[1]["trace_root"]);
        assert!(reports[2]["error"].as_str().unwrap().contains("vocabulary"));
    }

    home.write("answers.json", b"[1, 2");
    assert!(home.error(&verify("cpu")).contains("answers.json"));
}

#[test]
fn a_text_is_evaluated_in_windows() {
    let home = Home::new();
    let tokens: Vec<u32> = (0..65).map(|i| 1 + i * 7 % 300).collect();
    home.write("tokens.json", serde_json::json!({ "tokens": tokens }).to_string().as_bytes());
    let eval = ["eval", "--model", "tiny.gguf", "--tokens", "tokens.json", "--ctx", "16"];
    let report = home.json(&eval);
    assert_eq!((&report["windows"], &report["ctx"]), (&4.into(), &16.into()));
    assert_eq!(report["argmax"].as_array().unwrap().len(), 64);
    let (nll, perplexity) = (report["mean_nll"].as_f64(), report["perplexity"].as_f64());
    assert!((nll.unwrap().exp() / perplexity.unwrap() - 1.0).abs() < 1e-9);
    let limited = home.json(&[&eval[..], &["--limit", "1"]].concat());
    assert_eq!(limited["windows"], 1);
    assert_eq!(
        limited["argmax"].as_array().unwrap()[..],
        report["argmax"].as_array().unwrap()[..16]
    );
    let error = home.error(&["eval", "--model", "tiny.gguf", "--tokens", "tokens.json"]);
    assert!(error.contains("lower --ctx"), "{error}");
}

#[test]
fn files_that_cannot_be_exact_are_refused_by_name() {
    let home = Home::new();
    let file = std::fs::read(home.path("tiny.gguf")).unwrap();
    home.write("short.gguf", &file[..file.len() - 100]);
    let error = home.error(&["model", "import", "short.gguf"]);
    assert!(error.contains("output_norm.weight") || error.contains("output.weight"), "{error}");

    home.write("text.gguf", b"not a model at all");
    assert!(home.error(&["model", "import", "text.gguf"]).contains("text.gguf"));
    let error = home.error(&["run", "--model", "nothing", "--prompt", "x"]);
    assert!(error.contains("refute model import"), "{error}");
    let gpu =
        ["run", "--model", "tiny.gguf", "--prompt", "x", "--backend", "gpu", "--adapter", "none"];
    assert!(home.error(&gpu).contains("--backend"), "gpu is refused");
    // Whoever names an adapter doesn't expect the CPU, whatever else is chosen.
    let auto = ["run", "--model", "tiny.gguf", "--prompt", "x", "--adapter", "no such thing"];
    assert!(home.error(&auto).contains("--backend cpu"), "a name that nothing has is refused");
    let tokens = ["run", "--model", "tiny.gguf", "--prompt-tokens", "1,320"];
    assert!(home.error(&tokens).contains("vocabulary of 320"));
}

#[test]
fn usage_errors_exit_with_2_and_help_has_examples() {
    let home = Home::new();
    assert_eq!(home.refute(&["run"]).status.code(), Some(2));
    assert_eq!(home.refute(&["no-such-command"]).status.code(), Some(2));
    for command in [
        &["run"][..],
        &["eval"],
        &["verify"],
        &["devnet"],
        &["deploy"],
        &["request"],
        &["provider"],
        &["deliver"],
        &["model", "import"],
    ] {
        let help = home.refute(&[command, &["--help"]].concat());
        assert!(help.status.success());
        assert!(text(&help.stdout).contains("Example"), "{command:?}");
    }
}
