//! Lists this machine's adapters, the best first: `gpu` or `software`, then the name.

use refute_kernels::gpu::Adapter;

fn main() {
    for adapter in Adapter::all() {
        let kind = if adapter.is_gpu() { "gpu" } else { "software" };
        println!("{kind} {}", adapter.name());
    }
}
