// Runs the cases that the test serves on this browser's WebGPU and hands every result back; the test
// compares.
//
// GET  kernels   [{name, source, reads, writes}]
// GET  case/N    a case: the length of its header, the header as JSON, then the words of its buffers
// POST case/N    the words of the buffers that were written
// POST end       what has run, or why not

/** Cases under way at once. */
const PARALLEL = 8;

/** A case from its bytes: {header, buffers}. */
function decode(bytes) {
  const length = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  let at = 4 + length;
  const buffers = header.words.map((words) => {
    const buffer = new Uint8Array(bytes, at, 4 * words);
    at += 4 * words;
    return buffer;
  });
  return { header, buffers };
}

/** Layouts and pipelines, made once for each kernel and for each set of constants. */
class Pipelines {
  constructor(device, kernels) {
    this.device = device;
    this.kernels = kernels.map((kernel) => {
      const types = ["uniform", "uniform"];
      types.push(...Array(kernel.reads).fill("read-only-storage"));
      types.push(...Array(kernel.writes).fill("storage"));
      const entries = types.map((type, binding) => (
        { binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }
      ));
      const layout = device.createBindGroupLayout({ entries });
      const module = device.createShaderModule({ label: kernel.name, code: kernel.source });
      return { ...kernel, layout, module, pipelines: new Map() };
    });
  }

  /** Throws what the compiler says of a kernel. */
  async check() {
    for (const { name, module } of this.kernels) {
      const { messages } = await module.getCompilationInfo();
      const errors = messages.filter((message) => message.type === "error");
      if (errors.length > 0) {
        throw new Error(`${name}:${errors[0].lineNum}: ${errors[0].message}`);
      }
    }
  }

  /** The pipeline of a kernel with these constants, as a promise, and its layout. */
  get(index, constants) {
    const { layout, module, pipelines } = this.kernels[index];
    const key = JSON.stringify(constants);
    if (!pipelines.has(key)) {
      pipelines.set(key, this.device.createComputePipelineAsync({
        layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: "main", constants },
      }));
    }
    return { layout, pipeline: pipelines.get(key) };
  }
}

/** Runs a case; gives the bytes of all written buffers, one after the other. */
async function run(device, pipelines, { header, buffers }) {
  const { layout, pipeline } = pipelines.get(header.kernel, header.constants);
  const { STORAGE, UNIFORM, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
  const bound = buffers.map((bytes, i) => {
    const usage = (i < 2 ? UNIFORM : STORAGE | COPY_SRC) | COPY_DST;
    const buffer = device.createBuffer({ size: Math.max(bytes.byteLength, 16), usage });
    device.queue.writeBuffer(buffer, 0, bytes);
    return buffer;
  });
  const written = buffers.slice(-header.writes).map((bytes) => bytes.byteLength);
  const total = written.reduce((sum, size) => sum + size, 0);
  const readback = device.createBuffer({ size: total, usage: MAP_READ | COPY_DST });
  const entries = bound.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout, entries });

  const ready = await pipeline;
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(ready);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...header.groups);
  pass.end();
  let at = 0;
  bound.slice(-header.writes).forEach((buffer, i) => {
    encoder.copyBufferToBuffer(buffer, 0, readback, at, written[i]);
    at += written[i];
  });
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(GPUMapMode.READ);
  const result = readback.getMappedRange().slice(0);
  [...bound, readback].forEach((buffer) => buffer.destroy());
  return result;
}

async function fetched(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) {
    throw new Error(`${path}: ${response.status} ${await response.text()}`);
  }
  return response;
}

async function main() {
  if (!navigator.gpu) {
    throw new Error("this browser has no WebGPU");
  }
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) {
    throw new Error("this browser's WebGPU has no adapter");
  }
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const requiredLimits = { maxBufferSize, maxStorageBufferBindingSize };
  const device = await adapter.requestDevice({ requiredLimits });
  const failed = new Promise((_, reject) => {
    device.addEventListener("uncapturederror", ({ error }) => reject(new Error(error.message)));
    device.lost.then(({ message }) => reject(new Error(`device lost: ${message}`)));
  });
  const { kernels, cases } = await (await fetched("kernels")).json();
  const pipelines = new Pipelines(device, kernels);
  await pipelines.check();

  let next = 0;
  const worker = async () => {
    while (next < cases) {
      const index = next++;
      const bytes = await (await fetched(`case/${index}`)).arrayBuffer();
      const result = await run(device, pipelines, decode(bytes));
      await fetched(`case/${index}`, { method: "POST", body: result });
      document.getElementById("state").textContent = `${index + 1} of ${cases}`;
    }
  };
  await Promise.race([failed, Promise.all(Array.from({ length: PARALLEL }, worker))]);
  const { vendor, architecture, description } = adapter.info;
  return { adapter: [vendor, architecture, description].filter(Boolean).join(" ") };
}

const end = await main().catch((error) => ({ error: `${error.message ?? error}` }));
await fetch("end", { method: "POST", body: JSON.stringify(end) });
