//! The main job, told as it happens: a real model answers two prompts, one provider is honest and one cheats, a watcher
//! catches the cheat, and the settled answers are read back from the contract. Every party is a process of its own.
//!
//! `scripts/demo.sh` builds everything and runs this.
#![allow(clippy::float_arithmetic, reason = "seconds and percentages for people")]

mod report;
mod story;

use alloy::primitives::{B256, U256};
use anyhow::{Context, bail, ensure};
use clap::Parser;
use refute_engine::agent::connect;
use refute_engine::chain::Event;
use refute_engine::fault::FaultSpec;
use refute_engine::model::Model;
use refute_tests::processes::{ChainKind, Net, Process};
use report::{Fraud, Honest, Report};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::Story;

/// Run the demo.
#[derive(Parser)]
struct Arguments {
    /// The model's GGUF file
    #[arg(long)]
    model: PathBuf,
    /// Where logs, databases and report.json go; emptied first
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
    /// What the cheating provider falsifies
    #[arg(long, default_value = "41:blk.12.ffn_down:7")]
    fault: FaultSpec,
    /// What it is asked
    #[arg(long, default_value = "How many days are in a week?")]
    prompt: String,
    /// Longest answers, tokens
    #[arg(long, default_value_t = 24)]
    max_tokens: u32,
    /// Kernels of the providers and the watcher: auto, cpu, gpu or reference
    #[arg(long, default_value = "auto")]
    backend: String,
    /// The GPU whose name or driver contains this text
    #[arg(long, default_value = "")]
    adapter: String,
}

impl Arguments {
    /// What a provider or a watcher is started with.
    fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let common = ["--poll", "250", "--backend", &self.backend, "--adapter", &self.adapter];
        [&common, args].concat()
    }
}

/// The longest that any one thing may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Challenge window of the demo's deployment, seconds.
const WINDOW_S: &str = "30";
const FEE_WEI: &str = "1000000000000000";

fn main() -> ExitCode {
    match demo(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &Arguments) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(Demo::run(args))
}

/// Everybody who takes part.
struct Demo {
    net: Net,
    model: String,
    story: Story,
    requester: String,
}

impl Demo {
    async fn run(args: &Arguments) -> anyhow::Result<()> {
        let start = Instant::now();
        let (mut demo, mut watcher) = Self::set_up(args).await?;
        let keys = demo.net.keys.clone();
        let honest_args = args.with(&["--max-requests", "1"]);
        let mut honest = demo.net.provider("honest", &keys[2], &demo.model, &honest_args)?;

        story::chapter("An honest answer");
        let first = demo.request("What is the capital of France?", args.max_tokens)?;
        let claim = demo.until(first, "Claimed", &mut [&mut honest, &mut watcher]).await?;
        let claim_gas = demo.story.costs(claim).await?.gas_used;
        story::line(&format!(
            "the claim cost {claim_gas} gas; challenges are open for {WINDOW_S} s"
        ));

        story::chapter("A dishonest one");
        let fault = args.fault.to_string();
        let cheat_args = args.with(&["--max-requests", "1", "--fault", &fault]);
        let mut cheat = demo.net.provider("cheat", &keys[4], &demo.model, &cheat_args)?;
        let second = demo.request(&args.prompt, args.max_tokens)?;
        demo.until(second, "Claimed", &mut [&mut cheat, &mut watcher]).await?;
        let rejected = demo.until(second, "Rejected", &mut [&mut cheat, &mut watcher]).await?;
        let fraud = demo.fraud(args, rejected).await?;
        cheat.kill();

        story::chapter("Settled");
        // Restarted with the same key and database, and without a limit, it takes the reopened request.
        honest.kill();
        let mut honest = demo.net.provider("honest", &keys[2], &demo.model, &args.with(&[]))?;
        demo.until(first, "Finalized", &mut [&mut honest, &mut watcher]).await?;
        let answer = demo.output(first)?;
        story::said("read from the contract", text(&answer));
        demo.until(second, "Finalized", &mut [&mut honest, &mut watcher]).await?;
        let corrected = demo.output(second)?;
        story::said("the reopened request, served honestly", text(&corrected));

        let report = Report {
            model_id: demo.story.model_id().to_string(),
            honest: Honest { status: status(&answer), text: text(&answer).to_owned(), claim_gas },
            fraud: Fraud {
                reopened_status: status(&corrected),
                reopened_text: text(&corrected).to_owned(),
                ..fraud
            },
            elapsed_s: start.elapsed().as_secs_f64(),
        };
        report.check()?;
        let path = report.write(&args.out)?;
        story::chapter("Report");
        report.print(&path);
        Ok(())
    }

    /// A chain, the contracts, the model, a watcher.
    async fn set_up(args: &Arguments) -> anyhow::Result<(Self, Process)> {
        story::chapter("The parties");
        if args.out.exists() {
            // Only what an earlier demo left: the folder is the user's choice.
            let empty = std::fs::read_dir(&args.out)?.next().is_none();
            let ours = empty || args.out.join("devnet.log").is_file();
            ensure!(ours, "{} is not a demo's folder: name a new one", args.out.display());
            std::fs::remove_dir_all(&args.out)
                .with_context(|| format!("{} can't be emptied", args.out.display()))?;
        }
        let deploy = ["--window-min", WINDOW_S, "--clock", "120", "--min-response", "20"];
        let net = Net::start(&args.out, &ChainKind::Devnet(Vec::new()), &deploy)?;
        story::line(&format!("a chain at {}, the contracts on it", net.rpc));
        let file = args.model.to_string_lossy().into_owned();
        let model = net.refute(&["model", "import", &file])?;
        let model = model["model_id"].as_str().context("an id")?.to_owned();
        story::line(&format!("model {model}"));
        let watcher = net.watch("watcher", &net.keys[1], &model, &args.with(&[]))?;
        story::line("a watcher and two providers, each a process with its own key and database");
        let loaded = Arc::new(Model::open(&args.model, &|_, _| {})?);
        let deployment = Path::new(&args.out).join("home/deployments/31337.json");
        let chain = connect(&net.rpc, None, Some(&deployment)).await?;
        let story = Story::new(chain, loaded);
        let requester = net.keys[3].clone();
        Ok((Self { net, model, story, requester }, watcher))
    }

    fn request(&mut self, prompt: &str, max_tokens: u32) -> anyhow::Result<B256> {
        let max = max_tokens.to_string();
        let args = ["request", "--rpc", &self.net.rpc, "--key", &self.requester, "--model"];
        let more =
            [&self.model, "--chat", "--prompt", prompt, "--max-tokens", &max, "--fee", FEE_WEI];
        let request = self.net.refute(&[&args[..], &more].concat())?;
        story::said("requested", prompt);
        Ok(request["request_id"].as_str().context("an id")?.parse()?)
    }

    fn output(&self, request: B256) -> anyhow::Result<Value> {
        let id = request.to_string();
        self.net.refute(&["output", &id, "--rpc", &self.net.rpc, "--model", &self.model])
    }

    /// Tells what happens until this event of this request; gives its transaction. A process that ends before is an error.
    async fn until(
        &mut self,
        request: B256,
        event: &str,
        processes: &mut [&mut Process],
    ) -> anyhow::Result<B256> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.story.follow().await?;
            if let Some(tx) = self.story.seen(request, event) {
                return Ok(tx);
            }
            for process in processes.iter_mut() {
                if !process.is_running() {
                    let log = process.output();
                    let last = log.lines().last().unwrap_or("it said nothing");
                    let last = last.trim_start_matches("error: ");
                    bail!("a party ended ({}): {last}", process.log.display());
                }
            }
            ensure!(Instant::now() < deadline, "no {event} within {} s", PATIENCE.as_secs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the dispute came down to, what it cost, and who paid.
    async fn fraud(&mut self, args: &Arguments, rejected: B256) -> anyhow::Result<Fraud> {
        let dispute = self.story.dispute().context("a claim was rejected without a dispute")?;
        let (rewarded, reimbursed) = self.until_rewarded().await?;
        let id = dispute.to_string();
        let db = args.out.join("watcher.db").to_string_lossy().into_owned();
        let step = self.net.watcher(&["step", &id, "--db", &db, "--model", &self.model])?;
        let costs = self.story.dispute_costs(dispute).await?;
        let step_gas = self.story.costs(rejected).await?.gas_used;
        let fraud = Fraud {
            status: "rejected",
            fault: args.fault.to_string(),
            block: step["block"].as_u64().unwrap_or_default(),
            step: step["name"].as_str().unwrap_or_default().to_owned(),
            element: step["element"].as_u64().unwrap_or_default(),
            claimed: step["claimed"].as_str().unwrap_or_default().to_owned(),
            computed: step["computed"].as_str().unwrap_or_default().to_owned(),
            rounds: costs.rounds,
            transactions: costs.transactions,
            gas_total: costs.gas,
            calldata_bytes: costs.calldata,
            step_gas,
            reward_wei: rewarded.to_string(),
            reimbursed_wei: reimbursed.to_string(),
            burned_wei: self.story.burned().context("nothing was burned")?.to_string(),
            reopened_status: String::new(),
            reopened_text: String::new(),
        };
        story::verdict(&fraud);
        Ok(fraud)
    }

    /// The reward, and what the moves were paid with: they come in one transaction.
    async fn until_rewarded(&mut self) -> anyhow::Result<(U256, U256)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.story.follow().await?;
            let (mut reward, mut moves) = (U256::ZERO, U256::ZERO);
            for logged in self.story.events() {
                match &logged.event {
                    Event::Rewarded(e) => reward += e.amount,
                    Event::Reimbursed(e) => moves += e.amount,
                    _ => {}
                }
            }
            if !reward.is_zero() {
                return Ok((reward, moves));
            }
            ensure!(Instant::now() < deadline, "the watcher never got its reward");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn text(answer: &Value) -> &str {
    answer["text"].as_str().unwrap_or_default()
}

fn status(answer: &Value) -> String {
    answer["status"].as_str().unwrap_or_default().to_owned()
}
