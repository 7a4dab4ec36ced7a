// Writes one committed artifact from forge's output, because a cargo build must not need a compiler: only what callers and
// deployers use, in a stable form, so that a rebuild can be compared byte for byte.
// usage: node artifact.js FORGE_OUT CONTRACT TO_DIRECTORY
"use strict";

const fs = require("fs");
const path = require("path");

// EIP-170: no chain deploys more.
const DEPLOYED_BYTES_MAX = 24576;
// EIP-3860: nor is more given for creating one; some of it is left for the constructor's arguments.
const CREATION_BYTES_MAX = 49152 - 1024;

const [out, contractName, to] = process.argv.slice(2);
const built = JSON.parse(fs.readFileSync(path.join(out, `${contractName}.sol`, `${contractName}.json`), "utf8"));
const bytecode = { object: built.bytecode.object };
const deployedBytecode = { object: built.deployedBytecode.object };
const size = (deployedBytecode.object.length - 2) / 2;
const creationSize = (bytecode.object.length - 2) / 2;

if (!/^0x([0-9a-f]{2})+$/.test(bytecode.object)) {
  console.error(`${contractName}: the bytecode is empty or not linked`);
  process.exit(1);
}
if (size > DEPLOYED_BYTES_MAX) {
  console.error(`${contractName}: ${size} bytes deployed, more than the ${DEPLOYED_BYTES_MAX} that chains allow`);
  process.exit(1);
}
if (creationSize > CREATION_BYTES_MAX) {
  console.error(`${contractName}: ${creationSize} bytes of creation code, more than ${CREATION_BYTES_MAX}`);
  process.exit(1);
}
fs.mkdirSync(to, { recursive: true });
// Where everything lies in storage, beside the artifact: a contract's fields, then those of the structs that they hold.
function layout({ storage, types }) {
  const fields = (list, within) =>
    list.flatMap(({ label, slot, offset, type }) => {
      const { label: name, members, value } = types[type];
      const struct = members ?? (value && types[value].members);
      const line = { name: within + label, slot: Number(slot), offset, type: name };
      return struct ? [line, ...fields(struct, `${within}${label}.`)] : [line];
    });
  return fields(storage, "");
}

const artifact = { contractName, abi: built.abi, bytecode, deployedBytecode };
fs.writeFileSync(path.join(to, `${contractName}.json`), JSON.stringify(artifact, null, 2) + "\n");
fs.mkdirSync(path.join(to, "storage"), { recursive: true });
const fields = layout(built.storageLayout).map((field) => `\n  ${JSON.stringify(field)}`);
fs.writeFileSync(path.join(to, "storage", `${contractName}.json`), `[${fields.join(",")}\n]\n`);
console.log(`${contractName}: ${size} bytes deployed, ${creationSize} to create it`);
