#!/usr/bin/env bash
# Everything that has to hold: formatting, lints, the contracts against their artifacts, the tests of every language, and the
# GPU's kernels on two drivers and in a browser that need no GPU, and on the GPU if there is one. What takes hours is in
# scripts/nightly.sh.
# Needs the Rust toolchain, Node.js and Python; installs the rest into target/ and the model cache.
#
#   scripts/test.sh            all of it
#   scripts/test.sh rust       one part: lint, contracts, rust or gpu
#
# The part gpu writes target/gpu-ADAPTER.json. REFUTE_ADAPTER names the GPU (else the best one), REFUTE_GPU_CASES the number of
# random cases a kernel.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
# A missing tool or model is a failure here, not a skipped test.
export REFUTE_REQUIRE_TOOLS=1 REFUTE_REQUIRE_MODEL=1

step() {
  echo
  echo "== $* (${SECONDS} s)"
}

lint() {
  step "formatting"
  cargo fmt --all --check
  step "clippy"
  cargo clippy --workspace --all-targets --locked -- -D warnings
  step "documentation"
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
}

contracts() {
  step "contracts: artifacts"
  scripts/contracts.sh --check
  step "contracts: tests"
  scripts/contracts.sh --test
}

rust() {
  step "tools and model"
  tools="$(scripts/contracts.sh --install)"
  # The program itself: npm's script for it leaves it running when it is killed.
  REFUTE_ANVIL="$(find "$tools/../@foundry-rs" -path '*/anvil-*/bin/anvil' | head -n 1)"
  export REFUTE_ANVIL
  REFUTE_MODEL="$(scripts/model.sh)"
  export REFUTE_MODEL
  step "tests"
  cargo test --workspace --locked
  second_evm
}

# A part of the verifier's vectors, and whole disputes, on py-evm: an EVM that isn't ours.
second_evm() {
  step "vectors on py-evm"
  local python
  python="$(scripts/python.sh py-evm)/python"
  REFUTE_VECTORS="$PWD/target/vectors" tests it writes_
  "$python" contracts/tools/crosscheck.py target/vectors --calls 1500
}

# Ignored tests of one program, all or those that are named. With --workspace, so that what is built for the other tests fits.
tests() {
  cargo test --workspace --locked --test "$1" -- --ignored "${@:2}"
}

# The kernels on one adapter, whole decoders (all or those that are named), and the real model.
on_adapter() {
  step "kernels on $1"
  export REFUTE_ADAPTER="$1"
  REFUTE_GPU_RECORD="$PWD/target" tests gpu
  tests gpu_decoder "${@:2}"
  tests it backends::
}

gpu() {
  step "drivers and model"
  local found name path gpu="${REFUTE_ADAPTER:-}"
  REFUTE_MODEL="$(scripts/model.sh)"
  export REFUTE_MODEL
  found="$(scripts/drivers.sh)"
  while read -r name path <&3; do
    case "$name" in
      browser)
        step "kernels in $path"
        REFUTE_CHROMIUM="$path" tests it --exact browser::a_browser_computes_the_same_bits
        ;;
      # Only this driver is to be seen; older loaders know the variable by its second name.
      llvmpipe) VK_DRIVER_FILES="$path" VK_ICD_FILENAMES="$path" on_adapter llvmpipe ;;
      # It compiles slowly, and computes slowly.
      *)
        REFUTE_GPU_PROMPT=24 VK_DRIVER_FILES="$path" VK_ICD_FILENAMES="$path" \
          on_adapter "$name" every_format cut_and lost
        ;;
    esac
  done 3<<<"$found"
  if [[ -z "$gpu" ]]; then
    cargo build --workspace --locked --bin refute
    gpu="$("${CARGO_TARGET_DIR:-target}/debug/refute" devices --no-test --json | python3 -c '
import json, sys
gpus = [a["name"] for a in json.load(sys.stdin) if a["kind"] not in ("software", "other")]
print("\n".join(gpus[:1]))')"
  fi
  if [[ -n "$gpu" ]]; then
    on_adapter "$gpu"
  fi
}

case "${1:-all}" in
  # One after the other, not with &&: there, bash would go on after a failed line of a function.
  all)
    lint
    contracts
    rust
    gpu
    ;;
  lint | contracts | rust | gpu) "$1" ;;
  *)
    sed -n '2,11p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
step "all passed"
