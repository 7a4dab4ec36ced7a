#!/usr/bin/env bash
# Builds the contracts and writes contracts/artifacts/, which are committed so that cargo needs neither Node.js nor solc.
# Needs Node.js only: pinned solc, forge and anvil come from npm into target/tools.
#
#   scripts/contracts.sh                      builds every contract, writes its artifact
#   scripts/contracts.sh --only NAME          builds one
#   scripts/contracts.sh --check              fails if a committed artifact differs from what the sources give, or if
#                                             forge would format them otherwise
#   scripts/contracts.sh --test               runs the Solidity tests, and holds their gas against contracts/snapshots
#   scripts/contracts.sh --test ARGS…         runs some; ARGS go to `forge test`
#   scripts/contracts.sh --snapshots          measures the gas and writes contracts/snapshots
#   scripts/contracts.sh --install            installs the tools and prints their folder
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
tools="$root/target/tools"
contracts=()
for source in "$root"/contracts/solidity/*.sol; do
  contracts+=("$(basename "$source" .sol)")
done
export FOUNDRY_DISABLE_NIGHTLY_WARNING=1

install() {
  # The lock file is copied last, so a half-finished install is repeated.
  if ! cmp --quiet "$root/contracts/tools/package-lock.json" "$tools/installed.json"; then
    mkdir -p "$tools"
    cp "$root/contracts/tools/package.json" "$root/contracts/tools/package-lock.json" "$tools/"
    # The packages carry their binaries; their install scripts would only look for them elsewhere. Not `npm ci`: it insists
    # on seeing every platform's package in the lock file, and a mirror may not have them all.
    npm install --prefix "$tools" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp "$root/contracts/tools/package-lock.json" "$tools/installed.json"
  fi
  # The programs themselves: npm's script around them ends with 0 whatever they say, so no test could fail.
  local program
  for program in "$tools"/node_modules/@foundry-rs/*-*/bin; do
    PATH="$program:$PATH"
  done
  export PATH
}

# Writes the artifacts of the named contracts to a folder.
build() {
  local to="$1" scratch name source built=""
  shift
  scratch="$(mktemp -d)"
  trap 'rm -rf "$scratch"' RETURN
  for name in "$@"; do
    if [[ ! -f "$root/contracts/solidity/$name.sol" ]]; then
      echo "$name: no source" >&2
      return 1
    fi
    # The settlement carries its game's code and deploys it: that code is the game's.
    source="${name/#DisputeGame/InferenceSettlement}"
    # One compilation a contract: what the compiler is given besides a file can change that file's code.
    if [[ "$source" != "$built" ]]; then
      (cd "$root/contracts" && forge build --force --quiet --extra-output storageLayout --out "$scratch/out" \
        --cache-path "$scratch/cache" "solidity/$source.sol")
      built="$source"
    fi
    node "$root/contracts/tools/artifact.js" "$scratch/out" "$name" "$to"
  done
}

install
case "${1:-}" in
  "")
    build "$root/contracts/artifacts" "${contracts[@]}"
    ;;
  --only)
    build "$root/contracts/artifacts" "${2:?name of a contract}"
    ;;
  --check)
    if ! (cd "$root/contracts" && forge fmt --check); then
      echo "run \`forge fmt\` in contracts: scripts/contracts.sh --install says where it is" >&2
      exit 1
    fi
    rebuilt="$(mktemp -d)"
    trap 'rm -rf "$rebuilt"' EXIT
    build "$rebuilt" "${contracts[@]}"
    if ! diff --recursive --brief "$rebuilt" "$root/contracts/artifacts"; then
      echo "contracts/artifacts is not what the sources give: run scripts/contracts.sh and commit" >&2
      exit 1
    fi
    ;;
  --test)
    shift
    cd "$root/contracts"
    if (($# > 0)); then
      forge test "$@"
    else
      measured="$(mktemp -d)"
      trap 'rm -rf "$measured"' EXIT
      FOUNDRY_SNAPSHOTS="$measured" FORGE_SNAPSHOT_EMIT=true forge test
      node tools/snapshots.js snapshots "$measured"
    fi
    ;;
  --snapshots)
    cd "$root/contracts"
    FORGE_SNAPSHOT_EMIT=true forge test --match-path 'solidity/test/*Gas.t.sol'
    node tools/snapshots.js snapshots snapshots
    ;;
  --install)
    echo "$tools/node_modules/.bin"
    ;;
  *)
    sed -n '2,12p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
