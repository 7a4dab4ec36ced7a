#!/usr/bin/env bash
# Everything that has to hold: formatting, lints, the contracts against their artifacts, and the tests of every language.
# Needs the Rust toolchain, Node.js and Python; installs the rest into target/ and the model cache.
#
#   scripts/test.sh            all of it
#   scripts/test.sh rust       one part: lint, contracts or rust
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
}

case "${1:-all}" in
  # One after the other, not with &&: there, bash would go on after a failed line of a function.
  all)
    lint
    contracts
    rust
    ;;
  lint | contracts | rust) "$1" ;;
  *)
    sed -n '2,6p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
step "all passed"
