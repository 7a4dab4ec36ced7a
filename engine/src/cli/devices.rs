//! `refute devices`
#![allow(clippy::float_arithmetic, reason = "sizes and times are reports")]

use clap::Args;
use refute_engine::ui::{self, Style, Unit};
use refute_kernels::gpu::{Adapter, AdapterInfo, Device, self_test};
use serde::Serialize;

/// List the GPUs (and drivers that run shaders on the CPU), and test what they compute
#[derive(Args)]
#[command(after_help = "Example:\n  refute devices")]
pub(super) struct Arguments {
    /// Only those whose name or driver contains this text
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
    /// List without testing
    #[arg(long)]
    no_test: bool,
}

/// What `devices --json` prints of each.
#[derive(Serialize)]
struct DeviceReport {
    #[serde(flatten)]
    adapter: AdapterInfo,
    /// `passed`, `failed`, or `not run`.
    self_test: &'static str,
    /// Known cases that were compared.
    cases: usize,
    self_test_ms: f64,
    /// Why it failed.
    error: Option<String>,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    ui::start_logs(ui::COMMAND_LOGS, false);
    let wanted = |adapter: &Adapter| {
        let text = args.adapter.as_deref().unwrap_or_default().to_lowercase();
        adapter.name().to_lowercase().contains(&text)
    };
    let adapters: Vec<_> = Adapter::all().into_iter().filter(wanted).collect();
    let bar = ui::progress("testing", Unit::Positions);
    bar.set_length(adapters.len() as u64);
    let mut reports = Vec::new();
    for adapter in &adapters {
        reports.push(report(adapter, !args.no_test));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if json {
        return ui::print_json(&reports);
    }
    if reports.is_empty() {
        println!(
            "no adapter was found: install a Vulkan, Metal or DirectX 12 driver, or use --backend cpu"
        );
        return Ok(());
    }
    print_table(&reports);
    Ok(())
}

fn report(adapter: &Adapter, test: bool) -> DeviceReport {
    let (self_test, cases, self_test_ms, error) = if test {
        match Device::open(adapter).and_then(|device| self_test::check(&device)) {
            Ok(report) => ("passed", report.cases(), report.spent.as_secs_f64() * 1e3, None),
            Err(error) => ("failed", 0, 0.0, Some(error.to_string())),
        }
    } else {
        ("not run", 0, 0.0, None)
    };
    DeviceReport { adapter: adapter.info(), self_test, cases, self_test_ms, error }
}

fn print_table(reports: &[DeviceReport]) {
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
    let row = |report: &DeviceReport| {
        let a = &report.adapter;
        vec![
            a.name.clone(),
            a.driver.clone(),
            a.api.clone(),
            a.kind.to_owned(),
            a.memory_bytes.map_or_else(|| "?".into(), gib),
            gib(a.binding_bytes_max),
            match report.self_test {
                "passed" => {
                    format!("passed, {} cases in {:.0} ms", report.cases, report.self_test_ms)
                }
                other => other.to_owned(),
            },
        ]
    };
    let header = ["adapter", "driver", "API", "kind", "memory GiB", "binding GiB", "self-test"];
    println!("{}", ui::table(&header, &reports.iter().map(row).collect::<Vec<_>>()));
    for error in reports.iter().filter_map(|r| r.error.as_ref()) {
        println!("{}", ui::paint(Style::Red, error));
    }
}
