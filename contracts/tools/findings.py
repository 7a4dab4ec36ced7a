"""Holds slither's findings against the answers in findings.tsv: `findings.py SLITHER_JSON`.

Fails on a finding that nobody answered, and on an answer to what is no finding any more. An answer is for one detector and one
place, `Contract.function`; `*` is every place, for what a detector says of a habit rather than of a place.
"""

import csv
import json
import pathlib
import sys

ANSWERS = pathlib.Path(__file__).with_name("findings.tsv")


def place_of(finding):
    names = []
    element = finding["elements"][0]
    while element and element["type"] != "file":
        names.insert(0, element["name"])
        element = (element.get("type_specific_fields") or {}).get("parent")
    return ".".join(names)


def main():
    with open(ANSWERS, newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        answers = {(row["detector"], row["place"]): row["answer"] for row in rows}
    with open(sys.argv[1]) as file:
        report = json.load(file)
    if not report["success"]:
        sys.exit(f"slither failed: {report['error']}")
    used = set()
    unanswered = 0
    findings = report["results"].get("detectors", [])
    for finding in findings:
        keys = [(finding["check"], place_of(finding)), (finding["check"], "*")]
        found = [key for key in keys if answers.get(key)]
        used.update(found[:1])
        if not found:
            unanswered += 1
            print(f"{finding['impact']}: {keys[0]}: {finding['description'].strip()}")
    for key in answers.keys() - used:
        print(f"an answer to what slither doesn't find: {key}")
    print(f"{len(findings)} findings, {unanswered} without an answer")
    if unanswered or answers.keys() - used:
        sys.exit(f"answer them in {ANSWERS}, or change the code")


main()
