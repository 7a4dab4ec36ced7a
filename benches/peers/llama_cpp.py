"""Refute against llama.cpp: same file, same threads, in turn within one run.

Called by run.sh. Prints a table of medians and ratios; --csv keeps every measurement. With --contexts, a table of both
programs' speed against the length of the prompt.
"""

import argparse
import csv
import json
import statistics
import subprocess

import xllamacpp


def peer(model: str, threads: int, context: int):
    """A llama.cpp server in this process."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = context
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(params)


def measure_peer(server, prompt: list[int], count: int) -> dict[str, float]:
    """Tokens a second, as llama.cpp itself counts them."""
    answer = server.handle_completions(
        {
            "prompt": prompt,
            "n_predict": count,
            "ignore_eos": True,
            "cache_prompt": False,
            "temperature": 0,
        }
    )
    answer = answer if isinstance(answer, dict) else json.loads(answer)
    timings = answer["timings"]
    return {"prefill": timings["prompt_per_second"], "decode": timings["predicted_per_second"]}


def measure_ours(args, prompt: int) -> dict[str, float]:
    """One repeat of `refute bench`."""
    command = [args.refute, "bench", "--model", args.model, "--prompt", str(prompt)]
    command += ["--gen", str(args.gen), "--threads", str(args.threads), "--repeats", "1", "--json"]
    command += ["--backend", args.backend]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {
        "prefill": report["prefill_tokens_per_s"],
        "prefill, committed": report["prefill_committed_tokens_per_s"],
        "decode": report["decode_tokens_per_s"],
        "decode, committed": report["decode_committed_tokens_per_s"],
        "verification": report["verify_tokens_per_s"],
    }


def prompt_of(length: int, repeat: int) -> list[int]:
    """Other tokens each time: nothing may come from a cache."""
    return [(i * 7919 + 13 + repeat) % 32000 for i in range(length)]


def keep(path: str | None, header: list[str], rows: list[tuple]) -> None:
    if path:
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)


def compare(args) -> None:
    """One length of prompt: medians, and ratios."""
    server = peer(args.model, args.threads, args.prompt + args.gen + 64)
    rows = []
    for repeat in range(args.repeats):
        theirs = measure_peer(server, prompt_of(args.prompt, repeat), args.gen)
        rows += [(repeat, "llama.cpp", what, rate) for what, rate in theirs.items()]
        ours = measure_ours(args, args.prompt)
        rows += [(repeat, "refute", what, rate) for what, rate in ours.items()]

    def median(who: str, what: str) -> float:
        return statistics.median(rate for _, w, x, rate in rows if (w, x) == (who, what))

    print(f"{'':20} {'llama.cpp':>12} {'refute':>12} {'ratio':>8}")
    for what in ["prefill", "prefill, committed", "decode", "decode, committed", "verification"]:
        base = median("llama.cpp", "prefill" if what.startswith("prefill") else "decode")
        ours = median("refute", what)
        print(f"{what:20} {base:12.1f} {ours:12.1f} {ours / base:8.2f}")
    print("tokens a second, medians; verification is compared with llama.cpp's decode")
    keep(args.csv, ["repeat", "program", "what", "tokens_per_s"], rows)


def compare_contexts(args) -> None:
    """Several lengths of prompt: commitments are included in what refute does."""
    server = peer(args.model, args.threads, max(args.contexts) + args.gen + 64)
    rows = []
    for repeat in range(args.repeats):
        for length in args.contexts:
            theirs = measure_peer(server, prompt_of(length, repeat), args.gen)
            ours = measure_ours(args, length)
            for what in ["prefill", "decode"]:
                rows.append((repeat, "llama.cpp", length, what, theirs[what]))
                rows.append((repeat, "refute", length, what, ours[f"{what}, committed"]))
            rows.append((repeat, "refute", length, "verification", ours["verification"]))

    def median(who: str, length: int, what: str) -> float:
        return statistics.median(row[4] for row in rows if (*row[1:4],) == (who, length, what))

    titles = ["prompt of", "llama.cpp", "refute", "generation:", "llama.cpp", "refute", "verification"]
    print(" ".join(f"{title:>12}" for title in titles))
    for length in args.contexts:
        prefill = [median(who, length, "prefill") for who in ["llama.cpp", "refute"]]
        decode = [median(who, length, "decode") for who in ["llama.cpp", "refute"]]
        cells = [*prefill, None, *decode, median("refute", length, "verification")]
        line = " ".join(" " * 12 if cell is None else f"{cell:12.1f}" for cell in cells)
        print(f"{length:12} {line}")
    keep(args.csv, ["repeat", "program", "context", "what", "tokens_per_s"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--refute", default="target/release/refute")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--contexts", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--gen", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--csv")
    args = parser.parse_args()
    compare_contexts(args) if args.contexts else compare(args)


if __name__ == "__main__":
    main()
