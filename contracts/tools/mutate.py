"""Mutation test of the verifier's libraries: breaks them in one place at a time, and sees whether the vectors notice.

A mutant is killed if a vector of `target/vectors` (what the parity tests ask, see tests/support/vectors.rs) is no longer met,
equivalent if the compiler gives the same code for it, and invalid if it doesn't compile. Every other one has survived: it needs
a vector, or a line in contracts/tools/survivors.tsv that says why nothing can tell it from the original.

    mutate.py [--sample N] [--library NAME ...] [--again FILE] [--out FILE [--resume]] [--workers N]

Deterministic: mutants are numbered in the order of the text, and a sample takes those whose hash is lowest. `--again` takes
what survived a run whose `--out` it names: for new vectors, or more of them. `--resume` goes on with a run of the same
arguments that was stopped: what its `--out` already says of places that are still there stays, and is counted. A line of
survivors.tsv that explains nothing, where all of its library was tried, fails the run as an unexplained survivor does.
scripts/nightly.sh mutation builds what it needs, and runs it.
"""

import argparse
import collections
import concurrent.futures
import csv
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
LIBRARIES = CONTRACTS / "solidity" / "libraries"
SURVIVORS = CONTRACTS / "tools" / "survivors.tsv"

NAMES = [
    "FixedPoint", "LittleEndian", "Merkle", "GameTree", "Tokens", "Openings", "Shapes", "Weights",
    "Linear", "Norm", "Attention", "Elementwise", "Reductions", "Noise",
]
# Only the settlement and the game use these: the harness of the tests has them, the verifier does not.
IN_HARNESS_ONLY = {"GameTree", "Tokens"}
IN_HARNESS = IN_HARNESS_ONLY | {"FixedPoint", "Merkle", "Noise", "Norm", "Elementwise"}
# Too many variables for the compiler's quick pipeline.
NOT_QUICK = {"Linear", "Attention"}
NOT_QUICK_OPS = ("linear ", "scores ", "mix ", "probs ")

HARNESS = ("solidity/test/support/Libraries.sol", "Libraries")
VERIFIER = ("solidity/StepVerifier.sol", "StepVerifier")

Mutant = collections.namedtuple("Mutant", "library line operator before after source")

# What is replaced by what: binary operators stand between spaces in this code, Yul's are calls.
SWAPS = [
    ("arithmetic", r" \+ ", [" - "]),
    ("arithmetic", r" - ", [" + "]),
    ("arithmetic", r" \* ", [" + "]),
    ("arithmetic", r" / ", [" * ", " % "]),
    ("arithmetic", r" % ", [" / "]),
    ("arithmetic", r" \+= ", [" -= ", " = "]),
    ("arithmetic", r" \*= ", [" += ", " = "]),
    ("arithmetic", r"(?<=[ (])-(?=[\w(])", [""]),
    ("shift", r" << ", [" >> "]),
    ("shift", r" >> ", [" << "]),
    ("bits", r" & ", [" | "]),
    ("bits", r" \| ", [" & ", " ^ "]),
    ("bits", r" \^ ", [" | "]),
    ("bits", r" \|= ", [" = ", " &= "]),
    ("bits", r"~", [""]),
    ("comparison", r" < ", [" <= ", " > "]),
    ("comparison", r" <= ", [" < ", " > "]),
    ("comparison", r" > ", [" >= ", " < "]),
    ("comparison", r" >= ", [" > ", " < "]),
    ("comparison", r" == ", [" != "]),
    ("comparison", r" != ", [" == "]),
    ("logic", r" && ", [" || "]),
    ("logic", r" \|\| ", [" && "]),
    ("yul", r"\badd\(", ["sub("]),
    ("yul", r"\bsub\(", ["add("]),
    ("yul", r"\bshl\(", ["shr("]),
    ("yul", r"\bshr\(", ["shl("]),
    ("yul", r"\bsar\(", ["shr("]),
    ("yul", r"\band\(", ["or("]),
    ("yul", r"\bor\(", ["and("]),
    ("yul", r"\blt\(", ["gt("]),
    ("yul", r"\bgt\(", ["lt("]),
    ("yul", r"\biszero\(iszero\(", ["iszero(not("]),
]
NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+)(?![\w.])")
# Statements of one line that can be left out: assignments, guards, calls for their effect.
STATEMENT = re.compile(
    r"^(\s*)(?:if \(.*\) )?(?:revert \w|return\b|[\w.]+ (?:[-+*|]?=) |\w+ := |\+\+\w|_?\w+(?:\.\w+)?\(.*\);?$|m?copy|mstore).*"
)
SKIPPED = re.compile(r"^\s*(//|import|pragma|using|error|event|library|struct|function|\)|returns|internal|private|pure|\w+,?$)")


def code_of(line):
    """The part of a line that isn't a comment."""
    return line.split("//")[0].rstrip()


def changes_of(line):
    """(operator, changed line) for everything that can be changed in a line of code. A revert is one whatever it says, so
    what it says stays."""
    end = line.find("revert ") if "revert " in line else len(line)
    for operator, pattern, replacements in SWAPS:
        for found in re.finditer(pattern, line[:end]):
            for new in replacements:
                yield operator, line[: found.start()] + new + line[found.end():]
    for found in NUMBER.finditer(line[:end]):
        text = found.group()
        value = int(text, 0)
        for new in (value + 1, value - 1):
            if new < 0 or new >= 1 << 256:
                continue
            width = len(text) - 2
            written = f"0x{new:0{width}x}" if text.startswith("0x") else str(new)
            yield "constant", line[: found.start()] + written + line[found.end():]
    if STATEMENT.match(line) and (line.endswith(";") or ":=" in line or line.endswith(")")):
        yield "dropped", re.match(r"\s*", line).group()


def mutants_of(name):
    """All mutants of a library, in the order of its text."""
    text = (LIBRARIES / f"{name}.sol").read_text()
    lines = text.split("\n")
    for i, full in enumerate(lines):
        line = code_of(full)
        if not line or SKIPPED.match(line):
            continue
        for operator, changed in changes_of(line):
            source = "\n".join(lines[:i] + [changed] + lines[i + 1:])
            yield Mutant(name, i + 1, operator, line.strip(), changed.strip(), source)


def rank(mutant):
    """A number that stays when the lines around change."""
    key = "\0".join([mutant.library, str(mutant.line), mutant.before, mutant.after])
    return hashlib.sha256(key.encode()).hexdigest()


class Tool:
    """A program that answers a line with a line."""

    def __init__(self, *command):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} has ended")
        return answer.rstrip("\n")


# Free memory isn't zero in a contract that has been at work; what a library reads of it shows. In fresh memory other things
# do, such as a token 0 behind the last one.
FILL = """
        assembly ("memory-safe") {
            let free := mload(0x40)
            for { let i := 0 } lt(i, 0x2000) { i := add(i, 32) } { mstore(add(free, i), not(0)) }
        }
"""


def filled_verifier():
    """The verifier, amid memory in use."""
    text = (CONTRACTS / VERIFIER[0]).read_text()
    filled, count = re.subn(r"(?<=returns \(bool\) \{\n)", lambda _: FILL, text)
    if count != 1:
        sys.exit("where the verifier begins is not where it was")
    return filled


def quick_verifier():
    """As `filled_verifier`, without the ops that the quick pipeline can't compile."""
    return re.sub(r"\b(?:Linear|Attention)\.\w+\([^()]*\)", "acc", filled_verifier())


class Bench:
    """A compiler and the judges, for one thread."""

    def __init__(self, judge, vectors, quick_vectors):
        self.compiler = Tool("node", str(CONTRACTS / "tools" / "compile.js"))
        self.judges = {
            "harness": Tool(judge, str(vectors / "Libraries.jsonl")),
            "quick": Tool(judge, str(quick_vectors)),
            "whole": Tool(judge, str(vectors / "StepVerifier.jsonl")),
        }
        self.verifiers = {"quick": quick_verifier(), "whole": filled_verifier()}

    def code(self, build, changed):
        entry, contract = HARNESS if build == "harness" else VERIFIER
        if build in self.verifiers:
            changed = {VERIFIER[0]: self.verifiers[build], **changed}
        legacy = build not in ("whole", "fresh")
        request = {"entry": entry, "contract": contract, "legacy": legacy, "changed": changed}
        return self.compiler.ask(json.dumps(request))

    def verdict(self, build, code):
        return self.judges["whole" if build == "fresh" else build].ask(f"x {code}").split(" ", 1)[1]


def builds_of(library):
    """What is compiled for a mutant of a library, the cheapest first; only survivors of one come to the next."""
    builds = ["harness"] if library in IN_HARNESS else []
    if library not in IN_HARNESS_ONLY:
        builds += ["whole", "fresh"] if library in NOT_QUICK else ["quick", "whole", "fresh"]
    return builds


def try_mutant(bench, originals, mutant):
    """What becomes of a mutant, and why."""
    same = True
    for build in builds_of(mutant.library):
        code = bench.code(build, {f"solidity/libraries/{mutant.library}.sol": mutant.source})
        if not code:
            return "invalid", ""
        if code == originals[build]:
            continue
        same = False
        verdict = bench.verdict(build, code)
        if verdict != "met":
            return "killed", verdict.removeprefix("broken ")
    return ("equivalent", "the same code") if same else ("survived", "")


def explained():
    """Survivors that are known to compute the same, or whose difference is accounted for."""
    with open(SURVIVORS, newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {(row["library"], row["before"], row["after"]): row["why"] for row in rows}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judge", required=True, help="the program refute-judge")
    parser.add_argument("--vectors", type=pathlib.Path, default=ROOT / "target" / "vectors")
    parser.add_argument("--library", action="append", choices=NAMES)
    parser.add_argument("--sample", type=int, help="so many mutants of each library")
    parser.add_argument("--again", type=pathlib.Path, help="only what survived the run that wrote this")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "mutants.tsv")
    parser.add_argument("--resume", action="store_true", help="go on with the run that wrote --out")
    return parser.parse_args()


def key(mutant):
    return mutant.library, str(mutant.line), mutant.before, mutant.after


def fates_of(path):
    """What a run has written: fate and why of each mutant, by its key. A line that it was stopped at counts as not there."""
    with open(path, newline="") as file:
        whole = (line for line in file if line.endswith("\n"))
        rows = csv.DictReader(whole, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {
            (row["library"], row["line"], row["before"], row["after"]): (row["fate"], row["why"]) for row in rows
        }


def chosen(options):
    mutants = []
    for name in options.library or NAMES:
        of_library = list(mutants_of(name))
        if options.sample is not None:
            of_library = sorted(sorted(of_library, key=rank)[: options.sample], key=lambda m: m.line)
        mutants += of_library
    if options.again:
        survivors = {k for k, (fate, _) in fates_of(options.again).items() if fate in ("survived", "explained")}
        mutants = [m for m in mutants if key(m) in survivors]
    return mutants


def quick_vectors_of(vectors, to):
    with open(vectors / "StepVerifier.jsonl") as lines, open(to, "w") as out:
        out.writelines(line for line in lines if not json.loads(line)["name"].startswith(NOT_QUICK_OPS))


class Record:
    """What becomes of every mutant, in a file that is whole after each line, and in numbers."""

    def __init__(self, path):
        self.out = open(path, "w")
        self.known = explained()
        self.counts = collections.defaultdict(collections.Counter)
        self.used = set()
        self.unexplained = 0
        print("library\tline\toperator\tbefore\tafter\tfate\twhy", file=self.out)

    def add(self, mutant, fate, why):
        library, line, operator, before, after, _ = mutant
        if fate == "survived":
            why = self.known.get((library, before, after), "")
            fate = "explained" if why else fate
            self.used.add((library, before, after))
            self.unexplained += not why
        self.counts[library][fate] += 1
        print(library, line, operator, before, after, fate, why, sep="\t", file=self.out, flush=True)

    def unused(self):
        """Explanations of what is no longer there, or no longer survives, in libraries of which all was tried."""
        return [k for k in self.known if k[0] in self.counts and k not in self.used]

    def summary(self):
        columns = ["killed", "equivalent", "invalid", "explained", "survived"]
        print("| library | mutants | " + " | ".join(columns) + " |")
        for library, fates in self.counts.items():
            cells = [str(fates[c]) for c in columns]
            print(f"| {library} | {sum(fates.values())} | " + " | ".join(cells) + " |")


def check_originals(bench, mutants):
    """The code of the unchanged libraries, for each build; ends the program if one doesn't meet its vectors."""
    originals = {}
    for build in sorted({b for m in mutants for b in builds_of(m.library)}):
        originals[build] = bench.code(build, {})
        verdict = bench.verdict(build, originals[build])
        if verdict != "met":
            sys.exit(f"the original, build {build}, doesn't meet its own vectors: {verdict}")
    return originals


def main():
    options = arguments()
    mutants = chosen(options)
    former = fates_of(options.out) if options.resume and options.out.exists() else {}
    quick_vectors = options.out.with_suffix(".vectors.jsonl")
    quick_vectors_of(options.vectors, quick_vectors)
    local = threading.local()

    def bench():
        if not hasattr(local, "bench"):
            local.bench = Bench(options.judge, options.vectors, quick_vectors)
        return local.bench

    record = Record(options.out)
    for mutant in mutants:
        if key(mutant) in former:
            fate, why = former[key(mutant)]
            # Whether it is explained may have changed.
            record.add(mutant, "survived" if fate == "explained" else fate, why)
    mutants = [m for m in mutants if key(m) not in former]
    originals = check_originals(bench(), mutants)
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        fates = pool.map(lambda m: try_mutant(bench(), originals, m), mutants)
        for mutant, fate in zip(mutants, fates):
            record.add(mutant, *fate)
    record.summary()
    print(f"every fate: {options.out}")
    unused = record.unused() if options.sample is None and not options.again else []
    for library, before, after in unused:
        print(f"explains nothing: {library}: {before} -> {after}")
    if record.unexplained or unused:
        sys.exit(f"{record.unexplained} mutants survived and nothing says why; {len(unused)} lines explain nothing")


main()
