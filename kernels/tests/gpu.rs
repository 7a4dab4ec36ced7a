//! The WGSL kernels against the reference, bit for bit, on the adapter that `REFUTE_ADAPTER` names.
//!
//! `REFUTE_GPU_CASES` is the number of random cases a kernel (300), `REFUTE_GPU_SEED` the first
//! one's seed (0). With `REFUTE_GPU_RECORD` the result is written to that folder.

use refute_kernels::backend::BackendError;
use refute_kernels::gpu::{Adapter, Case, Device, Edit, Kernel, self_test, vectors};
use std::path::Path;
use std::time::Instant;

fn adapter() -> Adapter {
    let wanted = std::env::var("REFUTE_ADAPTER").ok();
    Adapter::pick(wanted.as_deref()).unwrap()
}

fn device() -> Device {
    Device::open(&adapter()).unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn agrees(device: &Device, case: &Case) {
    device.check_case(case).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn every_kernel_agrees_with_the_reference() {
    let device = device();
    let (first, random) = (number("REFUTE_GPU_SEED", 0), number("REFUTE_GPU_CASES", 300));
    let mut kernels = serde_json::Map::new();
    println!("{}", device.name());
    for kernel in Kernel::ALL {
        let start = Instant::now();
        let special = vectors::special(kernel);
        special.iter().for_each(|case| agrees(&device, case));
        (first..first + random).for_each(|seed| agrees(&device, &vectors::random(kernel, seed)));
        let (name, cases) = (kernel.name(), special.len() as u64 + random);
        let seconds = start.elapsed().as_secs_f64();
        println!("{name:12} {cases:6} cases {seconds:8.2} s");
        kernels.insert(name.into(), serde_json::json!({ "cases": cases, "seconds": seconds }));
    }
    if let Some(folder) = std::env::var_os("REFUTE_GPU_RECORD") {
        std::fs::create_dir_all(&folder).unwrap();
        let name = adapter().info().name.to_lowercase();
        let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
        let file = format!("gpu-{}.json", words.collect::<Vec<_>>().join("-"));
        let record = serde_json::json!({ "adapter": device.name(), "kernels": kernels });
        std::fs::write(Path::new(&folder).join(file), format!("{record:#}\n")).unwrap();
    }
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn the_self_test_runs_every_kernel() {
    let report = self_test::check(&device()).unwrap();
    println!("{report:?}");
    assert_eq!(report.kernels.iter().map(|(kernel, _)| *kernel).collect::<Vec<_>>(), Kernel::ALL);
    assert!(report.kernels.iter().all(|(_, cases)| *cases > 0), "{report:?}");
}

/// One mistake a kernel: a rounding, a constant, a tie.
const MISTAKES: [Edit; 10] = [
    Edit { kernel: Kernel::Embed, from: "12u))", to: "11u))" },
    Edit { kernel: Kernel::RmsNorm, from: "42u - h", to: "41u - h" },
    Edit { kernel: Kernel::Linear, from: "24u - min(", to: "23u - min(" },
    Edit { kernel: Kernel::LinearBatch, from: "((a ^ sum) & (b ^ sum))", to: "(a & b & ~sum)" },
    Edit { kernel: Kernel::Rope, from: "rshift_round64(y1, 30u)", to: "shr64(y1, 30u)" },
    Edit { kernel: Kernel::Scores, from: "39u - q_shift", to: "38u - q_shift" },
    Edit { kernel: Kernel::Mix, from: "shift < vec4<u32>(32u)", to: "shift < vec4<u32>(31u)" },
    Edit { kernel: Kernel::MixFinish, from: "rshift_round96(mul96", to: "shr96(mul96" },
    Edit { kernel: Kernel::SwiGlu, from: "1901360723u", to: "1901360753u" },
    Edit { kernel: Kernel::Sample, from: "all(best == exact) && id < index", to: "false" },
];

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_wrong_kernel_is_refused_by_name() {
    let adapter = adapter();
    let kernels: Vec<_> = MISTAKES.iter().map(|edit| edit.kernel).collect();
    assert_eq!(kernels, Kernel::ALL);
    for edit in MISTAKES {
        let device = Device::open_edited(&adapter, Some(edit.clone())).unwrap();
        match self_test::check(&device) {
            Err(BackendError::Refused { adapter, kernel, detail }) => {
                assert_eq!(
                    (adapter.as_str(), kernel.as_str()),
                    (device.name(), edit.kernel.name())
                );
                assert!(detail.contains("word"), "{detail}");
            }
            other => panic!("{edit:?}: {other:?}"),
        }
    }
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_kernel_that_does_not_compile_is_an_error() {
    let edit = Edit { kernel: Kernel::SwiGlu, from: "fn swiglu", to: "fn swiglu_" };
    let device = Device::open_edited(&adapter(), Some(edit)).unwrap();
    match device.check_case(&vectors::random(Kernel::SwiGlu, 0)) {
        Err(BackendError::Lost { reason, .. }) => assert!(reason.contains("swiglu"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_destroyed_device_is_an_error() {
    let device = device();
    let case = vectors::random(Kernel::Sample, 0);
    agrees(&device, &case);
    device.destroy();
    for _ in 0..3 {
        let result = device.check_case(&case);
        assert!(matches!(result, Err(BackendError::Lost { .. })), "{result:?}");
    }
    let result = self_test::check(&device);
    assert!(matches!(result, Err(BackendError::Lost { .. })), "{result:?}");
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn an_adapter_that_is_not_there_is_named() {
    match Adapter::pick(Some("no such adapter")) {
        Err(BackendError::NoAdapter(reason)) => {
            assert!(reason.contains("no such adapter") && reason.contains("there are"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
