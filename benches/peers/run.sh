#!/usr/bin/env bash
# Refute against llama.cpp on the same file with the same threads, interleaved. Needs Python; the peer comes from PyPI as a
# wheel (xllamacpp, llama.cpp prebuilt) into target/peers.
#
#   benches/peers/run.sh [--model FILE] [--prompt 512] [--gen 128] [--threads 2] [--repeats 5] [--csv FILE]
#   benches/peers/run.sh --contexts 128,512,1024 …      speed against the length of the prompt
#   benches/peers/run.sh --perplexity --tokens FILE     how well a text is predicted, against 32-bit floats in numpy
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

peers="target/peers"
if [[ ! -x "$peers/bin/python" ]]; then
  python3 -m venv "$peers"
fi
program=llama_cpp.py
packages=(xllamacpp==2026.10.11549)
if [[ "${1:-}" == --perplexity ]]; then
  program=float32.py
  packages=(numpy==2.4.6 gguf==0.19.0)
  shift
fi
"$peers/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
model=()
if [[ " $* " != *" --model "* ]]; then
  model=(--model "$(scripts/model.sh)")
fi
cargo build --release --locked --package refute-engine --bin refute
refute="${CARGO_TARGET_DIR:-target}/release/refute"
# The peer says much on standard error.
if ! "$peers/bin/python" "benches/peers/$program" --refute "$refute" "${model[@]}" "$@" 2>"$peers/log.txt"; then
  tail --lines=20 "$peers/log.txt" >&2
  exit 1
fi
