#!/usr/bin/env node
// forge wants a solc program, and the npm registry has the compiler only as WebAssembly: this gives the package the two
// options that forge uses. scripts/contracts.sh installs the package into target/tools.
"use strict";

const path = require("path");
const solc = require(path.join(__dirname, "../../target/tools/node_modules/solc"));

if (process.argv.includes("--version")) {
  // Native compilers name their platform; forge parses this shape, and the WebAssembly build says "Emscripten.clang".
  const version = solc.version().replace("Emscripten.clang", "Linux.g++");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
} else if (process.argv.includes("--standard-json")) {
  const input = require("fs").readFileSync(0, "utf8");
  process.stdout.write(solc.compile(input));
} else {
  console.error("this shim knows --version and --standard-json only");
  process.exit(2);
}
