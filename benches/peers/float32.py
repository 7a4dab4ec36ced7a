"""How well a llama model predicts a text in 32-bit floats, and how often refute predicts the same token.

Dequantizes the file and runs it with numpy: slow, plain, and independent of both programs that are compared elsewhere.

    float32.py --model FILE.gguf --tokens FILE.json [--refute target/release/refute] [--ctx 512]

Prints the perplexity of both, and the share of positions at which both find the same token the most likely one.
"""

import argparse
import json
import subprocess

import gguf
import numpy as np


class Model:
    """A llama in 32-bit floats."""

    def __init__(self, path: str):
        reader = gguf.GGUFReader(path)

        def value(name: str):
            return reader.fields[f"llama.{name}"].contents()

        self.layers = value("block_count")
        self.heads = value("attention.head_count")
        self.kv_heads = value("attention.head_count_kv")
        self.epsilon = value("attention.layer_norm_rms_epsilon")
        self.base = value("rope.freq_base")
        self.tensors = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            for tensor in reader.tensors
        }

    def weight(self, name: str):
        return self.tensors[f"{name}.weight"]

    def norm(self, x, name: str):
        mean = np.mean(x.astype(np.float64) ** 2, axis=-1, keepdims=True)
        return (x / np.sqrt(mean + self.epsilon)).astype(np.float32) * self.weight(name)

    def rotate(self, x):
        """Rope on neighbouring pairs; x is (positions, heads, elements)."""
        positions, _, size = x.shape
        rates = self.base ** (-np.arange(0, size, 2) / size)
        angles = np.exp(1j * np.arange(positions)[:, None] * rates).astype(np.complex64)
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * angles[:, None]
        return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape).astype(np.float32)

    def attention(self, x, layer: str):
        positions = x.shape[0]

        def heads(name: str, count: int):
            return (x @ self.weight(f"{layer}.{name}").T).reshape(positions, count, -1)

        q = self.rotate(heads("attn_q", self.heads))
        k = self.rotate(heads("attn_k", self.kv_heads)).repeat(self.heads // self.kv_heads, axis=1)
        v = heads("attn_v", self.kv_heads).repeat(self.heads // self.kv_heads, axis=1)
        scores = np.einsum("ihd,jhd->hij", q, k, optimize=True) / np.sqrt(q.shape[-1])
        scores[:, np.triu(np.ones((positions, positions), bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hij,jhd->ihd", scores, v, optimize=True).reshape(positions, -1)
        return mixed @ self.weight(f"{layer}.attn_output").T

    def logits(self, tokens: list[int]):
        x = self.weight("token_embd")[tokens]
        for index in range(self.layers):
            layer = f"blk.{index}"
            x = x + self.attention(self.norm(x, f"{layer}.attn_norm"), layer)
            normal = self.norm(x, f"{layer}.ffn_norm")
            gate = normal @ self.weight(f"{layer}.ffn_gate").T
            up = normal @ self.weight(f"{layer}.ffn_up").T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.weight(f"{layer}.ffn_down").T
        head = "output" if "output.weight" in self.tensors else "token_embd"
        return self.norm(x, "output_norm") @ self.weight(head).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--refute", default="target/release/refute")
    parser.add_argument("--ctx", type=int, default=512)
    args = parser.parse_args()

    with open(args.tokens) as file:
        tokens = json.load(file)["tokens"]
    model = Model(args.model)
    losses, likely = [], []
    for start in range(0, len(tokens) - args.ctx, args.ctx):
        window = tokens[start : start + args.ctx + 1]
        logits = model.logits(window[:-1]).astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        losses.append(np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(args.ctx), window[1:]])
        likely += logits.argmax(axis=-1).tolist()

    command = [args.refute, "eval", "--model", args.model, "--tokens", args.tokens]
    command += ["--ctx", str(args.ctx), "--backend", "cpu", "--json"]
    ours = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    same = np.mean(np.array(likely) == np.array(ours["argmax"]))
    print(f"{len(likely)} positions in windows of {args.ctx}")
    print(f"perplexity in 32-bit floats  {np.exp(np.concatenate(losses).mean()):.6f}")
    print(f"perplexity of refute         {ours['perplexity']:.6f}")
    print(f"the same most likely token   {100 * same:.3f} %")


if __name__ == "__main__":
    main()
