#!/usr/bin/env bash
# Refute against llama.cpp on the same file with the same threads, interleaved. Needs Python; the peer comes from PyPI as a
# wheel (xllamacpp, llama.cpp prebuilt) into target/peers.
#
#   benches/peers/run.sh [--model FILE] [--prompt 512] [--gen 128] [--threads 2] [--repeats 5] [--csv FILE]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

peers="target/peers"
if [[ ! -x "$peers/bin/python" ]]; then
  python3 -m venv "$peers"
fi
"$peers/bin/python" -m pip install --quiet --disable-pip-version-check xllamacpp==2026.10.11549
model=()
if [[ " $* " != *" --model "* ]]; then
  model=(--model "$(scripts/model.sh)")
fi
cargo build --release --locked --package refute-engine --bin refute
# The peer says much on standard error.
if ! "$peers/bin/python" benches/peers/llama_cpp.py "${model[@]}" "$@" 2>"$peers/log.txt"; then
  tail --lines=20 "$peers/log.txt" >&2
  exit 1
fi
