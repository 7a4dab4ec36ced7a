//! How fast a GPU (or a driver that runs shaders on the CPU) runs a model, and where the time goes.
//!
//!   cargo bench --package refute-benches --bench gpu -- --model FILE.gguf [--adapter TEXT] [--prompt 256] [--gen 16] [--csv FILE]
#![allow(clippy::float_arithmetic, reason = "times and rates are reports")]

use clap::Parser;
use refute_engine::model::Model;
use refute_engine::trace::Run;
use refute_engine::ui;
use refute_kernels::gpu::{Adapter, Device, Gpu, KernelTime, self_test};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Measure a model on a GPU.
#[derive(Parser)]
struct Arguments {
    /// A GGUF file
    #[arg(long, env = "REFUTE_MODEL")]
    model: PathBuf,
    /// The adapter whose name or driver contains this text
    #[arg(long)]
    adapter: Option<String>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 256)]
    prompt: usize,
    /// Tokens that are generated
    #[arg(long, default_value_t = 16)]
    r#gen: u32,
    /// Where the raw numbers go
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Most that was seen: products of 32 bits and of packed bytes, and bytes read, a second.
struct Ceilings {
    multiply: f64,
    dot: f64,
    read: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Arguments::parse();
    let adapter = Adapter::pick(args.adapter.as_deref())?;
    println!("{}", adapter.name());
    let mut csv = format!("adapter,{:?}\nmeasure,value,unit\n", adapter.name());
    let mut line = |name: &str, value: f64, unit: &str| {
        println!("{name:32} {value:12.2} {unit}");
        let _ = writeln!(csv, "{name},{value},{unit}");
    };

    let device = Device::open(&adapter)?;
    let report = self_test::check(&device)?;
    line("self-test, built in", millis(report.spent), "ms");
    let ceilings = ceilings(&device);
    device.check()?;
    line("32-bit products", ceilings.multiply / 1e9, "G/s");
    line("packed byte products", ceilings.dot / 1e9, "G/s");
    line("memory read", ceilings.read / 1e9, "GB/s");

    let model = Arc::new(Model::open(&args.model, &|_, _| {})?);
    let start = Instant::now();
    let gpu = Arc::new(Gpu::open(&adapter, model.decoder())?);
    line("self-test and upload, model", millis(start.elapsed()), "ms");
    model.set_backend(gpu.clone());
    let vocabulary = model.config.vocabulary;
    let prompt: Vec<u32> = (0..args.prompt as u32).map(|i| (i * 7919 + 13) % vocabulary).collect();
    // A first run compiles nothing more, but the driver warms up.
    Run::generate(&model, &prompt[..1], 1, None, &mut |_, _| true)?;
    let run = Run::generate(&model, &prompt, args.r#gen, None, &mut |_, _| true)?;
    let t = run.timing;
    line("prefill", t.prefill_positions as f64 / t.prefill.as_secs_f64(), "tokens/s");
    if t.decode_positions > 0 {
        line("decode", t.decode_positions as f64 / t.decode.as_secs_f64(), "tokens/s");
    }

    for (name, first, rows) in [("decode", args.prompt, 1), ("prefill", 0, args.prompt.min(128))] {
        let times = gpu.profile(first, rows, 3)?;
        println!("\n{name}: {rows} rows behind {first} positions");
        println!("{}", table(&times, &ceilings));
        for t in &times {
            let kernel = t.kernel.name();
            let _ = writeln!(csv, "{name} {kernel},{},ms", millis(t.spent));
            let _ = writeln!(csv, "{name} {kernel} bytes,{},B", t.bytes);
            let _ = writeln!(csv, "{name} {kernel} products,{},", t.products);
        }
    }
    if let Some(path) = &args.csv {
        std::fs::write(path, csv)?;
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn table(times: &[KernelTime], ceilings: &Ceilings) -> String {
    let total: f64 = times.iter().map(|t| millis(t.spent)).sum();
    let row = |t: &KernelTime| {
        let seconds = t.spent.as_secs_f64().max(1e-9);
        let (products, bytes) = (t.products as f64 / seconds, t.bytes as f64 / seconds);
        vec![
            t.kernel.name().to_owned(),
            t.dispatches.to_string(),
            format!("{:.2}", millis(t.spent)),
            format!("{:.0} %", 100.0 * millis(t.spent) / total),
            format!("{:.2}", products / 1e9),
            format!("{:.0} %", 100.0 * products / ceilings.multiply.max(ceilings.dot / 2.0)),
            format!("{:.2}", bytes / 1e9),
            format!("{:.0} %", 100.0 * bytes / ceilings.read),
        ]
    };
    let header =
        ["kernel", "dispatches", "ms", "share", "G products/s", "of peak", "GB/s", "of peak"];
    ui::table(&header, &times.iter().map(row).collect::<Vec<_>>())
}

/// Measures the ceilings with three loops that do nothing else.
fn ceilings(device: &Device) -> Ceilings {
    const LANES: u32 = 1 << 16;
    const READ_TURNS: u32 = 64;
    let turns = 256;
    let products = f64::from(LANES) * 32.0 * f64::from(turns);
    let bytes = f64::from(LANES) * 16.0 * f64::from(READ_TURNS);
    let best = |entry: &str, turns: u32| {
        let mut run = ceiling(device, entry, (LANES, turns), READ_TURNS);
        (0..5).map(|_| run()).min().unwrap_or_default().as_secs_f64().max(1e-9)
    };
    Ceilings {
        multiply: products / best("multiply", turns),
        dot: products / best("multiply_bytes", turns),
        read: bytes / best("stream", READ_TURNS),
    }
}

/// A loop, ready to run: each call gives the time of one dispatch.
fn ceiling<'a>(
    device: &'a Device,
    entry: &str,
    (lanes, turns): (u32, u32),
    vectors: u32,
) -> impl FnMut() -> Duration + 'a {
    let (device, queue) = device.raw();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(include_str!("shaders/ceilings.wgsl").into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry),
        layout: None,
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[("STRIDE", f64::from(lanes)), ("TURNS", f64::from(turns))],
            ..Default::default()
        },
        cache: None,
    });
    let buffer = |vectors: u64| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16 * vectors,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let input = buffer(u64::from(lanes) * u64::from(vectors));
    let output = buffer(u64::from(lanes));
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
        ],
    });
    move || {
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(lanes / 64, 1, 1);
        }
        let start = Instant::now();
        queue.submit([encoder.finish()]);
        let _ = device.poll(wgpu::PollType::wait_indefinitely());
        start.elapsed()
    }
}
