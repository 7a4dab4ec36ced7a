//! The adapters of this machine.

use crate::backend::BackendError;

/// An adapter: a GPU, or a driver that runs shaders on the CPU.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(super) inner: wgpu::Adapter,
}

/// What `refute devices` lists.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AdapterInfo {
    /// Device name.
    pub name: String,
    /// Driver and its version.
    pub driver: String,
    /// Vulkan, Metal or Dx12.
    pub api: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Largest buffer, bytes.
    pub buffer_bytes_max: u64,
    /// Largest binding of a kernel, bytes.
    pub binding_bytes_max: u64,
    /// Memory of the device, bytes, if the driver tells.
    pub memory_bytes: Option<u64>,
}

impl Adapter {
    /// All adapters, the best kind first; those of one kind in the driver's order.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::PRIMARY,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        let mut adapters: Vec<_> = adapters.into_iter().map(|inner| Self { inner }).collect();
        adapters.sort_by_key(Self::rank);
        adapters
    }

    /// The best adapter whose name or driver contains `wanted` (any, if it is `None`), whatever its kind.
    ///
    /// # Errors
    /// [`BackendError::NoAdapter`] with the names that there are.
    pub fn pick(wanted: Option<&str>) -> Result<Self, BackendError> {
        let all = Self::all();
        let matches =
            |a: &&Self| wanted.is_none_or(|w| a.name().to_lowercase().contains(&w.to_lowercase()));
        all.iter().find(matches).cloned().ok_or_else(|| {
            let names: Vec<_> = all.iter().map(Self::name).collect();
            BackendError::NoAdapter(match (wanted, names.is_empty()) {
                (Some(wanted), false) => {
                    let names = names.join("; ");
                    format!("none is called {wanted:?}; there are: {names}; or use --backend cpu")
                }
                _ => "install a Vulkan, Metal or DirectX 12 driver, or use --backend cpu".into(),
            })
        })
    }

    /// Name, driver and its version, on one line.
    #[must_use]
    pub fn name(&self) -> String {
        let info = self.info();
        format!("{} ({}, {})", info.name, info.driver, info.api)
    }

    /// Whether it is a GPU, not a driver that runs shaders on the CPU.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        self.rank() < 3
    }

    fn rank(&self) -> u8 {
        match self.inner.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Cpu => 3,
            wgpu::DeviceType::Other => 4,
        }
    }

    /// What it is and what it offers.
    #[must_use]
    pub fn info(&self) -> AdapterInfo {
        let info = self.inner.get_info();
        let limits = self.inner.limits();
        let driver = [info.driver, info.driver_info];
        AdapterInfo {
            name: info.name,
            driver: driver
                .iter()
                .map(|s| s.trim())
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
            api: info.backend.to_string(),
            kind: ["discrete", "integrated", "virtual", "software", "other"]
                [usize::from(self.rank())],
            buffer_bytes_max: limits.max_buffer_size,
            binding_bytes_max: limits.max_storage_buffer_binding_size,
            memory_bytes: self.memory_bytes(),
        }
    }

    /// The device's largest heap, where the API tells.
    #[expect(unsafe_code, reason = "wgpu has no safe way to a Vulkan device's memory size")]
    fn memory_bytes(&self) -> Option<u64> {
        #[cfg(not(target_vendor = "apple"))]
        {
            // SAFETY: the handle is only read, and not kept beyond this call.
            let adapter = unsafe { self.inner.as_hal::<wgpu::hal::api::Vulkan>() }?;
            let instance = adapter.shared_instance().raw_instance();
            // SAFETY: the physical device belongs to this instance, which the adapter keeps alive.
            let memory = unsafe {
                instance.get_physical_device_memory_properties(adapter.raw_physical_device())
            };
            memory.memory_heaps_as_slice().iter().map(|heap| heap.size).max()
        }
        #[cfg(target_vendor = "apple")]
        None
    }
}
