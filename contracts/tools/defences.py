"""Takes the contracts' defences away, one at a time, and demands that a test fails: `defences.py [NAME…]`, else all.

defences.toml says what is changed for each defence, which test must notice, and with which words. A test that fails for another
reason has noticed something else, so the words count; and it must pass while the defence is there. Every attack and every rule
for models that contracts/README.md lists must be in the table, and every entry of the table must be in the README.

Works on a copy in target/defences, which keeps forge's cache and the compiler's answers. Tests deploy what the compiler left in
`out` (Test.deployed), so only the changed contracts are compiled again, with few optimizations: seconds instead of minutes.
scripts/nightly.sh defences runs it.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
TABLE = CONTRACTS / "tools" / "defences.toml"
BENCH = ROOT / "target" / "defences"
COPY = BENCH / "contracts"
TESTS = "solidity/test"

# What is compiled, and from which files its artifacts come: the settlement carries its game.
DEPLOYED = {
    "solidity/InferenceSettlement.sol": ["solidity/InferenceSettlement.sol", "solidity/DisputeGame.sol"],
    "solidity/ModelRegistry.sol": ["solidity/ModelRegistry.sol"],
    "solidity/StepVerifier.sol": ["solidity/StepVerifier.sol"],
}
# Enough of the optimizer that the stack suffices, and no more.
SETTINGS = {
    "viaIR": True,
    "optimizer": {
        "enabled": True,
        "runs": 1,
        "details": {"yul": True, "yulDetails": {"stackAllocation": True, "optimizerSteps": "dhfoDgvulfnTUtnIf"}},
    },
    "evmVersion": "cancun",
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
}
# Failures that say nothing about what failed.
VAGUE = ("EvmError", "setUp", "panic", "out of gas", "OutOfGas")
IMPORT = re.compile(r'from\s+"([^"]+)"')
# The README's tables that must be covered: heading, and what a row's last cell begins with.
LISTS = {"## Attacks, and what defeats each": "attack", "## Models": "rule"}


class Wrong(Exception):
    """The table, the README or a file isn't what the others say."""


def source(path):
    return (CONTRACTS / path).read_text()


def entries(rows):
    """What is compiled for these rows; tests that have a library's code inside name themselves."""
    return sorted(DEPLOYED.keys() | {path for row in rows for path in row.get("rebuild", [])})


def gather(entry, changed):
    """A file with all that it imports: {path: text}."""
    sources = {}
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path not in sources:
            sources[path] = changed.get(path) or source(path)
            folder = os.path.dirname(path)
            waiting += [os.path.normpath(os.path.join(folder, name)) for name in IMPORT.findall(sources[path])]
    return sources


def compiled(entry, changed):
    """The creation code of what is compiled with a file, {artifact: hex}."""
    wanted = {path: {"*": ["evm.bytecode.object"]} for path in DEPLOYED.get(entry, [entry])}
    sources = {path: {"content": text} for path, text in gather(entry, changed).items()}
    request = {"language": "Solidity", "sources": sources, "settings": SETTINGS | {"outputSelection": wanted}}
    request = json.dumps(request, sort_keys=True)
    # The compiler's version is pinned there.
    question = source("tools/package-lock.json") + request
    kept = BENCH / "answers" / f"{hashlib.sha256(question.encode()).hexdigest()}.json"
    if not kept.exists():
        command = ["node", str(CONTRACTS / "tools" / "solc.js"), "--standard-json"]
        answer = subprocess.run(command, input=request, capture_output=True, text=True, check=True).stdout
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(answer)
    answer = json.loads(kept.read_text())
    errors = [e["formattedMessage"] for e in answer.get("errors", []) if e["severity"] == "error"]
    if errors:
        raise Wrong(f"doesn't compile: {errors[0]}")
    codes = {}
    for path in wanted:
        for name, contract in answer["contracts"][path].items():
            codes[f"{os.path.basename(path)}/{name}.json"] = contract["evm"]["bytecode"]["object"]
    return codes


# ---------------------------------------------------------------------- the table


def listed():
    """The attacks and rules of the README: the first cell of each row."""
    found = []
    heading, column = None, None
    for line in source("README.md").split("\n"):
        if line.startswith("## "):
            heading, column = line, None
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if heading in LISTS and cells:
            if cells[0] == LISTS[heading]:
                column = LISTS[heading]
            elif column and not re.fullmatch(r"-+|\*\*.*\*\*", cells[0]):
                found.append(cells[0])
        elif not cells:
            column = None
    return found


def table():
    with open(TABLE, "rb") as file:
        content = tomllib.load(file)
    rows = content["defence"]
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names):
        raise Wrong("two defences of one name")
    known = set(listed())
    excused = {entry["against"] for entry in content.get("without", [])}
    covered = {row["against"] for row in rows}
    for against in sorted((covered | excused) - known):
        raise Wrong(f"not in the README's tables: {against}")
    for against in sorted(known - covered - excused):
        raise Wrong(f"in the README, and without a defence in the table: {against}")
    return rows


def changed_sources(row):
    """The files of a defence without it, {path: text}."""
    texts = {}
    for change in row["change"]:
        path = f"solidity/{change['file']}"
        text = texts.get(path) or source(path)
        wanted = change.get("times", 1)
        if text.count(change["before"]) != wanted:
            raise Wrong(f"{path} has {text.count(change['before'])} of this, not {wanted}: {change['before']}")
        texts[path] = text.replace(change["before"], change["after"])
    return texts


def test_file(contract):
    """The file that a test contract is in."""
    for path in sorted((CONTRACTS / TESTS).glob("*.t.sol")):
        if re.search(rf"^contract {contract}\b", path.read_text(), re.MULTILINE):
            return f"{TESTS}/{path.name}"
    raise Wrong(f"no test contract {contract}")


# ---------------------------------------------------------------------- the copy


def forge(*arguments):
    (program,) = (ROOT / "target/tools/node_modules/@foundry-rs").glob("forge-*/bin/forge")
    environment = os.environ | {"FOUNDRY_DISABLE_NIGHTLY_WARNING": "1", "FOUNDRY_PROFILE": "default"}
    return subprocess.run([str(program), *arguments], cwd=COPY, env=environment, capture_output=True, text=True)


def prepare(rows):
    """A copy of what the tests of these rows need, compiled; only what changed since the last time is compiled again."""
    sources = {}
    for path in sorted({test_file(row["test"].split(".")[0]) for row in rows}):
        sources |= gather(path, {})
    for entry in DEPLOYED:
        sources |= gather(entry, {})
    (COPY / "tools").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(COPY / "solidity", ignore_errors=True)
    for path, text in sources.items():
        (COPY / path).parent.mkdir(parents=True, exist_ok=True)
        (COPY / path).write_text(text)
    shutil.copy(CONTRACTS / "foundry.toml", COPY)
    shutil.copy(CONTRACTS / "tools" / "solc.js", COPY / "tools")
    for name in ("target", "tests"):
        if not (BENCH / name).exists():
            (BENCH / name).symlink_to(ROOT / name)
    if not (COPY / "out").exists() and (CONTRACTS / "out").exists():
        shutil.copytree(CONTRACTS / "out", COPY / "out")
        shutil.copytree(CONTRACTS / "cache", COPY / "cache")
    built = forge("build")
    if built.returncode != 0:
        raise Wrong(f"forge build: {built.stdout}{built.stderr}")


def install(codes):
    """Puts these contracts' code where the tests look for it."""
    for name, code in codes.items():
        path = COPY / "out" / name
        artifact = json.loads(path.read_text())
        artifact["bytecode"]["object"] = f"0x{code}"
        path.write_text(json.dumps(artifact))


def results(tests):
    """What becomes of these tests, {Contract.test: None if it passes, else why not}."""
    # What failed once would be tried first.
    for name in ("fuzz", "invariant"):
        shutil.rmtree(COPY / "cache" / name, ignore_errors=True)
    contracts = "|".join(sorted({test.split(".")[0] for test in tests}))
    functions = "|".join(sorted({test.split(".")[1] for test in tests}))
    ran = forge("test", "--json", "--match-contract", f"^({contracts})$", "--match-test", rf"^({functions})\(")
    try:
        suites = json.loads(ran.stdout)
    except json.JSONDecodeError:
        raise Wrong(f"forge test: {ran.stdout[:2000]}{ran.stderr[:2000]}") from None
    found = {}
    for place, suite in suites.items():
        contract = place.split(":")[1]
        for signature, result in suite["test_results"].items():
            # A setUp that fails stands in the place of all its tests.
            names = [t for t in tests if t.startswith(f"{contract}.")] if signature == "setUp()" else []
            for test in names or [f"{contract}.{signature.split('(')[0]}"]:
                prefix = "setUp: " if names else ""
                found[test] = None if result["status"] == "Success" else prefix + str(result["reason"])
    return found


# ---------------------------------------------------------------------- the trial


def tried(row, originals):
    """Why this row isn't as it should be; None if it is."""
    changed = changed_sources(row)
    codes = {}
    for entry in entries([row]):
        if changed.keys() & gather(entry, {}).keys():
            codes |= compiled(entry, changed)
    if not codes or all(originals[name] == code for name, code in codes.items()):
        return "the code is the same without it"
    install(codes)
    try:
        failure = results([row["test"]]).get(row["test"], "forge knows no such test")
    finally:
        install({name: originals[name] for name in codes})
    if failure is None:
        return "SURVIVED: no test noticed"
    if row["because"] not in failure or any(word in row["because"] for word in VAGUE):
        return f"failed for another reason: {failure}"
    return None


def chosen(rows, names):
    unknown = set(names) - {row["name"] for row in rows}
    if unknown:
        raise Wrong(f"no such defence: {', '.join(sorted(unknown))}")
    return [row for row in rows if not names or row["name"] in names]


def main():
    rows = table()
    for row in rows:
        changed_sources(row)
    prepare(rows)
    rows = chosen(rows, sys.argv[1:])
    originals = {}
    for entry in entries(rows):
        originals |= compiled(entry, {})
    install(originals)
    tests = sorted({row["test"] for row in rows})
    before = results(tests)
    for test in tests:
        if before.get(test, "forge knows no such test") is not None:
            raise Wrong(f"with all defences {test} fails: {before.get(test)}")
    failures = 0
    for row in rows:
        begun = time.monotonic()
        try:
            why = tried(row, originals)
        except Wrong as wrong:
            why = str(wrong)
        failures += why is not None
        print(f"{'ok' if why is None else 'NO'}  {row['name']}  {row['test']}  ({time.monotonic() - begun:.0f} s)", flush=True)
        if why:
            print(f"    {why}", flush=True)
    print(f"{len(rows)} defences, {len(rows) - failures} noticed as soon as they are gone")
    if failures:
        sys.exit(1)


try:
    main()
except Wrong as wrong:
    sys.exit(f"defences: {wrong}")
