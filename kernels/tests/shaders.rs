//! What of the GPU needs none: every kernel's text is valid core WGSL, and the cases test what they
//! claim to.

use refute_kernels::gpu::{Kernel, vectors};
use wgpu::naga;

/// Kernels with a finalizer that honest values can saturate.
const SATURATING: [Kernel; 5] =
    [Kernel::RmsNorm, Kernel::Linear, Kernel::LinearBatch, Kernel::Rope, Kernel::SwiGlu];

#[test]
fn every_kernel_is_valid_core_wgsl() {
    for kernel in Kernel::ALL {
        let (name, source) = (kernel.name(), kernel.source());
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        let flags = naga::valid::ValidationFlags::all();
        let core = naga::valid::Capabilities::empty();
        naga::valid::Validator::new(flags, core)
            .validate(&module)
            .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        let entries: Vec<_> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(entries, ["main"], "{name}");
        let floats = module.types.iter().filter(|(_, t)| {
            let scalar = t.inner.scalar();
            scalar.is_some_and(|s| matches!(s.kind, naga::ScalarKind::Float))
        });
        assert_eq!(floats.count(), 0, "{name} has floats");
        assert!(!source.lines().any(|line| line.starts_with("enable")), "{name} needs a feature");
    }
}

#[test]
fn every_binding_is_the_one_that_the_table_names() {
    for kernel in Kernel::ALL {
        let module = naga::front::wgsl::parse_str(&kernel.source()).unwrap();
        let (reads, writes) = kernel.storage();
        let mut bindings: Vec<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, v)| v.binding.map(|b| (b.binding, v.space)))
            .collect();
        bindings.sort_by_key(|(binding, _)| *binding);
        let numbers: Vec<_> = bindings.iter().map(|(binding, _)| *binding).collect();
        assert_eq!(numbers, (0..2 + reads + writes).collect::<Vec<_>>(), "{}", kernel.name());
        for (binding, space) in bindings {
            let writable = naga::StorageAccess::STORE;
            let found = match space {
                naga::AddressSpace::Uniform => 'u',
                naga::AddressSpace::Storage { access } if access.contains(writable) => 'w',
                naga::AddressSpace::Storage { .. } => 'r',
                _ => '?',
            };
            let expected = if binding < 2 {
                'u'
            } else if binding < 2 + reads {
                'r'
            } else {
                'w'
            };
            assert_eq!(found, expected, "{}, binding {binding}", kernel.name());
        }
    }
}

#[test]
fn every_kernel_has_cases_that_write_something() {
    for kernel in Kernel::ALL {
        let special = vectors::special(kernel);
        let random = (0..50).map(|seed| vectors::random(kernel, seed));
        assert!(special.len() >= 30, "{}", kernel.name());
        let idle = special.into_iter().chain(random).filter(|c| c.outputs == c.expected).count();
        // A piece of an embedding may hold none of the batch's tokens.
        let most = if kernel == Kernel::Embed { 10 } else { 0 };
        assert!(idle <= most, "{idle} cases of {} change nothing", kernel.name());
    }
}

#[test]
fn saturation_is_counted_where_it_can_happen() {
    for kernel in Kernel::ALL {
        let saturates = vectors::special(kernel).iter().any(|case| {
            let one = |buffers: &[Vec<u32>]| buffers.last().filter(|b| b.len() == 1).map(|b| b[0]);
            kernel != Kernel::Sample && one(&case.expected) > one(&case.outputs)
        });
        assert_eq!(saturates, SATURATING.contains(&kernel), "{}", kernel.name());
    }
}

#[test]
fn a_seed_always_gives_the_same_case() {
    for kernel in Kernel::ALL {
        let [a, b, other] = [7, 7, 8].map(|seed| vectors::random(kernel, seed));
        assert_eq!((&a.name, &a.inputs, &a.expected), (&b.name, &b.inputs, &b.expected));
        assert_ne!(a.inputs, other.inputs);
    }
}
