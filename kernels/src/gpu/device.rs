//! A device: one adapter, opened, with its pipelines, its memory and its failures.
//!
//! Nothing that a driver does may hang or end the process: every wait has a limit, and whatever goes wrong (an error that no
//! call returns, a lost device, no answer in time) is kept and turns the next result into [`BackendError::Lost`].

use super::adapter::Adapter;
use super::kernel::{Kernel, Tuning, Variant};
use crate::backend::BackendError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// Longest wait for one submission; submissions are cut so that the slowest software driver needs a fraction of it.
const SUBMISSION_MAX: Duration = Duration::from_secs(180);

/// A kernel that is ready to run.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// An opened adapter.
#[derive(Debug)]
pub struct Device {
    name: String,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    limits: wgpu::Limits,
    tuning: Tuning,
    /// The first failure that was reported outside of a call.
    failure: Arc<Mutex<Option<String>>>,
    pipelines: Mutex<HashMap<Variant, Arc<Pipeline>>>,
    edit: Option<Edit>,
}

/// Replaces a piece of a kernel's source: tests prove with it that a wrong kernel is caught.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Whose source.
    pub kernel: Kernel,
    /// What is replaced; it has to occur.
    pub from: &'static str,
    /// By what.
    pub to: &'static str,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// Opens an adapter with all that it offers.
    ///
    /// # Errors
    /// What the driver says.
    pub fn open(adapter: &Adapter) -> Result<Self, BackendError> {
        Self::open_edited(adapter, None)
    }

    /// Opens an adapter whose kernels differ: for tests.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_edited(adapter: &Adapter, edit: Option<Edit>) -> Result<Self, BackendError> {
        let name = adapter.name();
        let limits = adapter.inner.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("refute"),
            required_limits: limits.clone(),
            ..Default::default()
        };
        let lost = |reason: String| BackendError::Lost { adapter: name.clone(), reason };
        let (device, queue) = pollster::block_on(adapter.inner.request_device(&descriptor))
            .map_err(|e| lost(e.to_string()))?;
        let failure = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&keep).get_or_insert_with(|| error.to_string());
        }));
        let keep = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, message| {
            lock(&keep).get_or_insert_with(|| format!("device lost ({reason:?}): {message}"));
        });
        let tuning = if adapter.is_gpu() { Tuning::GPU } else { Tuning::CPU };
        let pipelines = Mutex::default();
        Ok(Self { name, device, queue, limits, tuning, failure, pipelines, edit })
    }

    /// Name and driver of the adapter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the device offers.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.limits
    }

    /// How kernels are tuned for it.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// The device and its queue, for measurements beside the kernels.
    pub fn raw(&self) -> (&wgpu::Device, &wgpu::Queue) {
        (&self.device, &self.queue)
    }

    /// Gives the device up, as a driver reset would: for tests.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    pub(super) fn lost(&self, reason: impl Into<String>) -> BackendError {
        BackendError::Lost { adapter: self.name.clone(), reason: reason.into() }
    }

    /// Whether it still works.
    ///
    /// # Errors
    /// The first failure so far.
    pub fn check(&self) -> Result<(), BackendError> {
        match &*lock(&self.failure) {
            Some(reason) => Err(self.lost(reason.clone())),
            None => Ok(()),
        }
    }

    /// A buffer of `bytes`, rounded up to whole words.
    ///
    /// # Errors
    /// [`BackendError::Memory`] if the device has no room for it.
    pub(super) fn buffer(
        &self,
        what: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, BackendError> {
        let size = bytes.next_multiple_of(4).max(16);
        let available = self.limits.max_buffer_size;
        let too_big = |available| BackendError::Memory {
            what: format!("{what} on {}", self.name),
            needed: size,
            available,
        };
        if size > available {
            return Err(too_big(available));
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation: false,
        });
        match pollster::block_on(scope.pop()) {
            Some(_) => Err(too_big(0)),
            None => Ok(buffer),
        }
    }

    /// A pipeline; compiled at its first use.
    pub(super) fn pipeline(&self, variant: &Variant) -> Result<Arc<Pipeline>, BackendError> {
        if let Some(pipeline) = lock(&self.pipelines).get(variant) {
            return Ok(Arc::clone(pipeline));
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = Arc::new(self.compile(variant));
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(self.lost(format!("{} doesn't compile: {error}", variant.kernel.name())));
        }
        self.check()?;
        lock(&self.pipelines).insert(variant.clone(), Arc::clone(&pipeline));
        Ok(pipeline)
    }

    fn compile(&self, variant: &Variant) -> Pipeline {
        let kernel = variant.kernel;
        let mut source = kernel.source();
        if let Some(edit) = self.edit.as_ref().filter(|e| e.kernel == kernel) {
            assert!(source.contains(edit.from), "{} has no {:?}", kernel.name(), edit.from);
            source = source.replace(edit.from, edit.to);
        }
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name()),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let entries: Vec<_> = kernel.bindings().map(layout_entry).collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(kernel.name()),
            entries: &entries,
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name()),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants: Vec<_> =
            variant.constants.iter().map(|(name, value)| (*name, f64::from(*value))).collect();
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name()),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: true,
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    }

    /// A bind group of all bindings in order.
    pub(super) fn bind(
        &self,
        pipeline: &Pipeline,
        bindings: Vec<wgpu::BindingResource<'_>>,
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(bindings)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        })
    }

    /// Submits and waits until the device has done it; then `read` gets the bytes of a mappable buffer.
    pub(super) fn submit_and_read<T>(
        &self,
        commands: wgpu::CommandBuffer,
        readback: &wgpu::Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, BackendError> {
        self.queue.submit([commands]);
        let (sender, receiver) = mpsc::channel();
        readback.map_async(wgpu::MapMode::Read, 0..bytes.next_multiple_of(8), move |result| {
            let _ = sender.send(result);
        });
        self.wait()?;
        let mapped = receiver
            .recv_timeout(SUBMISSION_MAX)
            .map_err(|_| self.lost("a result was never handed over"))?;
        self.check()?;
        mapped.map_err(|e| self.lost(e.to_string()))?;
        let out = {
            let view = readback
                .get_mapped_range(0..bytes.next_multiple_of(8))
                .map_err(|e| self.lost(e.to_string()))?;
            read(&view[..bytes as usize])
        };
        readback.unmap();
        Ok(out)
    }

    /// Waits for everything submitted.
    pub(super) fn wait(&self) -> Result<(), BackendError> {
        let wait = wgpu::PollType::Wait { submission_index: None, timeout: Some(SUBMISSION_MAX) };
        self.device.poll(wait).map_err(|e| self.lost(format!("no answer: {e}")))?;
        self.check()
    }
}

fn layout_entry((binding, kind): (u32, wgpu::BufferBindingType)) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: kind,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}
