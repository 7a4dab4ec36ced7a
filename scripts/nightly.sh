#!/usr/bin/env bash
# What takes too long for every change, one part each; scripts/test.sh runs the rest. Needs what scripts/test.sh needs.
#
#   scripts/nightly.sh              all of it
#   scripts/nightly.sh parity       every op in Rust and on chain: 100,000 cases an op, or REFUTE_PARITY_CASES
#   scripts/nightly.sh disputes     random faults and lies on chain: ten thousand on a generated model, fifty on the real one
#                                   (REFUTE_TINY_GAMES, REFUTE_STORIES, REFUTE_REAL_GAMES; REFUTE_SEED says which)
#   scripts/nightly.sh invariants   honest parties among liars, and the money: long random lives of the contracts
#   scripts/nightly.sh defences     the contracts without each of their defences in turn; fails where no test notices, see
#                                   contracts/tools/defences.toml. Arguments are names of defences
#   scripts/nightly.sh neon         the kernels for ARM, under emulation (qemu-aarch64)
#   scripts/nightly.sh evm          all vectors of the verifier, and whole disputes, on py-evm: an EVM that isn't ours
#   scripts/nightly.sh slither      static analysis; fails on what contracts/tools/findings.tsv doesn't answer
#   scripts/nightly.sh halmos       what holds for every input: solidity/test/symbolic
#   scripts/nightly.sh mutation     the verifier's libraries, broken in every place; fails on what survives and isn't in
#                                   contracts/tools/survivors.tsv. Arguments go to contracts/tools/mutate.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export FOUNDRY_DISABLE_NIGHTLY_WARNING=1
built="${CARGO_TARGET_DIR:-target}"
vectors="$PWD/target/vectors"

step() {
  echo
  echo "== $* (${SECONDS} s)"
}

# Functions of tests that write files are ignored otherwise.
vectors() {
  step "vectors"
  REFUTE_VECTORS="$vectors" REFUTE_VECTOR_CASES="${1:-24}" \
    cargo test --release --locked --package refute-tests --test it -- writes_ --ignored --nocapture
}

parity() {
  step "parity"
  REFUTE_PARITY_CASES="${REFUTE_PARITY_CASES:-100000}" \
    cargo test --release --locked --package refute-tests --test it -- parity:: --nocapture
}

disputes() {
  REFUTE_MODEL="$(scripts/model.sh)"
  export REFUTE_MODEL
  export REFUTE_TINY_GAMES="${REFUTE_TINY_GAMES:-10000}" REFUTE_STORIES="${REFUTE_STORIES:-400}"
  export REFUTE_REAL_GAMES="${REFUTE_REAL_GAMES:-50}" REFUTE_SEED="${REFUTE_SEED:-$(date +%s)}"
  step "disputes, seed $REFUTE_SEED"
  cargo test --release --locked --package refute-tests --test it -- adversary:: --nocapture
}

# A static program, which needs no other compiler and no libraries of that machine; what libdl has, musl has itself.
neon() {
  local target=aarch64-unknown-linux-musl libraries="$PWD/target/neon"
  if ! command -v qemu-aarch64 >/dev/null; then
    echo "qemu-aarch64 is missing: on Debian and Ubuntu it is in qemu-user" >&2
    exit 1
  fi
  rustup target add "$target"
  mkdir -p "$libraries"
  printf '!<arch>\n' >"$libraries/libdl.a"
  step "neon"
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-L native=$libraries" \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER=qemu-aarch64 \
    cargo test --locked --package refute-kernels --lib --target "$target" -- cpu::
}

evm() {
  vectors 100
  local bin
  bin="$(scripts/python.sh py-evm)"
  step "py-evm"
  "$bin/python" contracts/tools/crosscheck.py "$vectors"
}

slither() {
  local bin node report
  bin="$(scripts/python.sh slither-analyzer)"
  node="$(scripts/contracts.sh --install)"
  report="$PWD/target/slither.json"
  step "slither"
  rm -f "$report"
  # It fails when it finds anything; whether that is answered says the next line.
  (cd contracts && PATH="$node:$bin:$PATH" "$bin/slither" . --json "$report" >/dev/null 2>&1) || true
  "$bin/python" contracts/tools/findings.py "$report"
}

invariants() {
  step "invariants"
  FOUNDRY_PROFILE=nightly scripts/contracts.sh --test --match-contract 'HonestParties|Solvency|SockPuppets'
}

defences() {
  scripts/contracts.sh --install >/dev/null
  step "defences"
  python3 contracts/tools/defences.py "$@"
}

halmos() {
  local bin node
  bin="$(scripts/python.sh halmos)"
  node="$(scripts/contracts.sh --install)"
  step "halmos"
  (cd contracts && PATH="$node:$bin:$PATH" FOUNDRY_PROFILE=symbolic "$bin/halmos" --root . \
    --forge-build-out out/symbolic --loop 300 --solver-timeout-assertion 120s)
}

mutation() {
  scripts/contracts.sh --install >/dev/null
  vectors 120
  step "mutation"
  cargo build --release --locked --package refute-tests --bin refute-judge
  python3 contracts/tools/mutate.py --judge "$built/release/refute-judge" --vectors "$vectors" "$@"
}

part="${1:-all}"
case "$part" in
  # One after the other, not with &&: there, bash would go on after a failed line of a function.
  all)
    parity
    disputes
    invariants
    defences
    neon
    evm
    slither
    halmos
    mutation
    ;;
  parity | disputes | invariants | neon | evm | slither | halmos) "$part" ;;
  defences | mutation) "$part" "${@:2}" ;;
  *)
    sed -n '2,16p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
step "all passed"
