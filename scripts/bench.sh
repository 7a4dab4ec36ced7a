#!/usr/bin/env bash
# Measures what README.md and benches/runs say about speed, cost and exactness, on this machine: against llama.cpp on the same
# file and threads, by itself, against the length of the context and the size of the model, disputes of the real model, perplexity.
# Writes a folder of raw numbers (CSV), plots (SVG) and what the programs printed (summary.txt).
# Needs the Rust toolchain, Python and what a C compiler needs; peers come from PyPI into target/peers.
#
#   scripts/bench.sh                 some minutes after the build
#   scripts/bench.sh --long          more repeats, contexts up to 4096, models up to the shape of 1B, and the demo
#   scripts/bench.sh --long --13b    up to the shape of 13B: 7.4 GB of disk, 20 GB of memory
#   scripts/bench.sh --out FOLDER    another folder than benches/runs/DATE-MACHINE
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

repeats=3
contexts=128,512,1024
shapes=(15m 135m)
long=
out="benches/runs/$(date +%F)-$(uname -m)-$(nproc)core"
while (($# > 0)); do
  case "$1" in
    --long)
      long=1
      repeats=5
      contexts=128,512,1024,2048,4096
      shapes+=(1b)
      ;;
    --13b) shapes+=(13b) ;;
    --out)
      out="${2:?a folder}"
      shift
      ;;
    *)
      sed -n '2,10p' "${BASH_SOURCE[0]}" >&2
      exit 2
      ;;
  esac
  shift
done

mkdir -p "$out"
out="$(cd "$out" && pwd)"
: >"$out/summary.txt"

# Says what follows, then runs it and keeps what it prints.
step() {
  printf '\n== %s\n' "$1" | tee --append "$out/summary.txt"
  "${@:2}" | tee --append "$out/summary.txt"
}

machine() {
  sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo 2>/dev/null | sort | uniq --count
  echo "$(uname -sm), $(nproc) processors, load $(cut --delimiter=' ' --fields=1-3 /proc/loadavg 2>/dev/null || echo unknown)"
  echo "$(rustc --version), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
}

sizes() {
  rm -f "$out/size.csv"
  local shape
  for shape in "${shapes[@]}"; do
    cargo bench --quiet --locked --package refute-benches --bench size -- --shape "$shape" \
      --csv "$out/size.csv"
    echo
  done
}

disputes() {
  REFUTE_MODEL="$model" REFUTE_REQUIRE_MODEL=1 cargo test --quiet --release --locked \
    --package refute-tests --test it real:: -- --nocapture
}

model="$(scripts/model.sh)"
threads="$(nproc)"
measure=(benches/peers/run.sh --model "$model" --threads "$threads" --repeats "$repeats")
step "machine" machine
step "against llama.cpp" "${measure[@]}" --prompt 512 --gen 128 --csv "$out/peers.csv"
step "by itself" "${CARGO_TARGET_DIR:-target}/release/refute" bench --model "$model" --threads "$threads" \
  --prompt 512 --gen 128 --repeats "$repeats"
step "against the length of the prompt" "${measure[@]}" --contexts "$contexts" --gen 32 --csv "$out/context.csv"
step "against the size of the model" sizes
step "disputes of the real model" disputes
step "perplexity" benches/peers/run.sh --perplexity --model "$model" --tokens benches/data/emma.json
if [[ -n "$long" ]]; then
  step "the demo" scripts/demo.sh
  cp target/demo/report.json "$out/demo.json"
fi
step "plots" benches/plot.py "$out"
