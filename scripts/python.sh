#!/usr/bin/env bash
# Installs Python programs that check the contracts into target/tools/py, in the versions of contracts/tools/requirements.txt,
# and prints the folder of their programs.
#
#   scripts/python.sh NAME…      such as py-evm, slither-analyzer, halmos
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pins="contracts/tools/requirements.txt"
venv="$PWD/target/tools/py"
if [[ ! -x "$venv/bin/python" ]]; then
  python3 -m venv "$venv"
fi
for name in "$@"; do
  wanted="$(grep "^$name==" "$pins")"
  if ! "$venv/bin/python" -c 'import sys; from importlib.metadata import version
name, wanted = sys.argv[1].split("=="); sys.exit(version(name) != wanted)' "$wanted" 2>/dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted" >&2
  fi
done
echo "$venv/bin"
