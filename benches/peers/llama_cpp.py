"""Refute against llama.cpp: same file, same threads, in turn within one run.

Called by run.sh. Prints a table of medians and ratios; --csv keeps every measurement.
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


def measure_ours(args) -> dict[str, float]:
    """One repeat of `refute bench`."""
    command = [args.refute, "bench", "--model", args.model, "--prompt", str(args.prompt)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--refute", default="target/release/refute")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--csv")
    args = parser.parse_args()

    server = peer(args.model, args.threads, args.prompt + args.gen + 64)
    rows = []
    for repeat in range(args.repeats):
        # Other tokens each time: nothing may come from a cache.
        prompt = [(i * 7919 + 13 + repeat) % 32000 for i in range(args.prompt)]
        theirs = measure_peer(server, prompt, args.gen)
        rows += [(repeat, "llama.cpp", what, rate) for what, rate in theirs.items()]
        rows += [(repeat, "refute", what, rate) for what, rate in measure_ours(args).items()]

    def median(who: str, what: str) -> float:
        return statistics.median(rate for _, w, x, rate in rows if (w, x) == (who, what))

    print(f"{'':20} {'llama.cpp':>12} {'refute':>12} {'ratio':>8}")
    for what in ["prefill", "prefill, committed", "decode", "decode, committed", "verification"]:
        base = median("llama.cpp", "prefill" if what.startswith("prefill") else "decode")
        ours = median("refute", what)
        print(f"{what:20} {base:12.1f} {ours:12.1f} {ours / base:8.2f}")
    print("tokens a second, medians; verification is compared with llama.cpp's decode")
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["repeat", "program", "what", "tokens_per_s"])
            writer.writerows(rows)


if __name__ == "__main__":
    main()
