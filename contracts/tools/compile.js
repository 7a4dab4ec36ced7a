// A compiler that stays: answers each line of its input, {entry, contract, legacy, changed: {path: source}}, with one line,
// the deployed code in hex, or nothing where the sources don't compile. Paths are relative to contracts/. The mutation test
// asks it hundreds of times; starting the compiler anew would cost more than compiling.
"use strict";

const fs = require("fs");
const path = require("path");
const readline = require("readline");

const root = path.join(__dirname, "..");
const solc = require(path.join(root, "../target/tools/node_modules/solc"));

// Enough of the optimizer that the stack suffices, and no more.
const QUICK_STEPS = "dhfoDgvulfnTUtnIf";
const yulDetails = { stackAllocation: true, optimizerSteps: QUICK_STEPS };
const VIA_IR = { viaIR: true, optimizer: { enabled: true, runs: 1, details: { yul: true, yulDetails } } };
const LEGACY = { viaIR: false, optimizer: { enabled: false } };

// A file with all that it imports.
function gather(entry, changed) {
  const sources = {};
  const add = (file) => {
    if (sources[file]) return;
    const content = changed[file] ?? fs.readFileSync(path.join(root, file), "utf8");
    sources[file] = { content };
    for (const [, from] of content.matchAll(/from\s+"([^"]+)"/g)) add(path.join(path.dirname(file), from));
  };
  add(entry);
  return sources;
}

function compile({ entry, contract, legacy, changed }) {
  const settings = {
    ...(legacy ? LEGACY : VIA_IR),
    evmVersion: "cancun",
    metadata: { appendCBOR: false, bytecodeHash: "none" },
    outputSelection: { [entry]: { [contract]: ["evm.deployedBytecode.object"] } },
  };
  const input = { language: "Solidity", sources: gather(entry, changed), settings };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const errors = (output.errors ?? []).filter(({ severity }) => severity === "error");
  for (const { message } of errors) console.error(message.split("\n")[0]);
  return errors.length > 0 ? "" : output.contracts[entry][contract].evm.deployedBytecode.object;
}

readline.createInterface({ input: process.stdin }).on("line", (line) => console.log(compile(JSON.parse(line))));
