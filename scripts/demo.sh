#!/usr/bin/env bash
# The main job on one machine: a real model, an honest and a cheating provider, a watcher, a chain, all real processes.
# Fetches the model, builds, runs; writes target/demo/report.json. Needs the Rust toolchain and Python.
#
#   scripts/demo.sh
#   scripts/demo.sh --backend gpu                                               on a GPU, or a driver that runs shaders on the CPU
#   scripts/demo.sh --fault BLOCK:STEP:ELEMENT --prompt TEXT --max-tokens N     a drill
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

model="$(scripts/model.sh)"
cargo build --release --locked --package refute-engine --package refute-watcher --package refute-tests --bins
exec "${CARGO_TARGET_DIR:-target}/release/refute-demo" --model "$model" "$@"
