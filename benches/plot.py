#!/usr/bin/env python3
"""Plots of a recorded run: reads context.csv and size.csv of its folder, writes context.svg and size.svg beside them.

    benches/plot.py benches/runs/2026-11-20-epyc-2core-kernels

Needs nothing but Python. Where a measurement was repeated, the median is drawn.
"""

import csv
import math
import statistics
import sys
from html import escape
from pathlib import Path

PANEL_WIDTH, PANEL_HEIGHT = 400, 260
LEFT, TOP, RIGHT, BOTTOM = 64, 40, 24, 48
COLOURS = ["#1b6ca8", "#d1495b", "#3c8d5a", "#8a5fbf", "#c77d0a", "#5f6b73"]


class Panel:
    """One pair of axes, logarithmic where asked for."""

    def __init__(self, title, x_label, series, y_log=False, x_format=str):
        self.title, self.x_label, self.y_log, self.x_format = title, x_label, y_log, x_format
        self.series = {name: sorted(points) for name, points in series.items() if points}
        points = [point for line in self.series.values() for point in line]
        self.xs = sorted({x for x, _ in points})
        self.x_range = math.log(self.xs[0]), math.log(self.xs[-1])
        ys = [y for _, y in points]
        if y_log:
            self.y_range = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
        else:
            self.y_range = 0, max(ys) * 1.08

    def x(self, value):
        low, high = self.x_range
        return PANEL_WIDTH * (math.log(value) - low) / max(high - low, 1e-9)

    def y(self, value):
        low, high = self.y_range
        share = ((math.log10(value) if self.y_log else value) - low) / max(high - low, 1e-9)
        return PANEL_HEIGHT * (1 - share)

    def y_ticks(self):
        low, high = self.y_range
        if self.y_log:
            return [10.0**i for i in range(low, high + 1)]
        step = 10 ** math.floor(math.log10(high))
        while high / step < 4:
            step /= 2
        return [i * step for i in range(int(high / step) + 1)]

    def svg(self, left):
        parts = [f'<g transform="translate({left + LEFT} {TOP})">']
        parts.append(text(PANEL_WIDTH / 2, -16, self.title, "middle", weight="bold"))
        for tick in self.y_ticks():
            y = self.y(tick)
            parts.append(f'<path d="M0 {y:.1f}H{PANEL_WIDTH}" stroke="#e3e6e8"/>')
            parts.append(text(-8, y + 4, f"{tick:,.10g}".rstrip(), "end"))
        for x in self.xs:
            at = self.x(x)
            parts.append(f'<path d="M{at:.1f} 0V{PANEL_HEIGHT}" stroke="#f0f2f3"/>')
            parts.append(text(at, PANEL_HEIGHT + 18, self.x_format(x), "middle"))
        parts.append(text(PANEL_WIDTH / 2, PANEL_HEIGHT + 38, self.x_label, "middle"))
        for i, (name, line) in enumerate(self.series.items()):
            colour = COLOURS[i % len(COLOURS)]
            path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in line)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for x, y in line:
                parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3" fill="{colour}"/>')
            row = PANEL_HEIGHT + 60 + 18 * i
            parts.append(f'<path d="M0 {row - 4}h18" stroke="{colour}" stroke-width="2"/>')
            parts.append(text(24, row, name, "start"))
        return "\n".join(parts) + "\n</g>"


def text(x, y, content, anchor, weight="normal"):
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} fill="#22292e">{escape(content)}</text>'


def write(path, panels):
    lines = max(len(panel.series) for panel in panels)
    width = len(panels) * (PANEL_WIDTH + LEFT + RIGHT)
    height = TOP + PANEL_HEIGHT + BOTTOM + 18 * lines + 16
    body = [panel.svg(i * (PANEL_WIDTH + LEFT + RIGHT)) for i, panel in enumerate(panels)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    head += f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
    background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    path.write_text("\n".join([head, background, *body, "</svg>"]) + "\n")
    print(path.name)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def medians(measured, what):
    """By program: context length and the median of what was measured there."""
    found = {}
    for row in measured:
        if row["what"] == what:
            key = row["program"], int(row["context"])
            found.setdefault(key, []).append(float(row["tokens_per_s"]))
    lines = {}
    for (program, context), values in found.items():
        lines.setdefault(program, []).append((context, statistics.median(values)))
    return lines


def plot_context(source):
    measured = rows(source)
    checks = {f"{name}, verification": line for name, line in medians(measured, "verification").items()}
    prompts = {**medians(measured, "prefill"), **checks}
    panels = [
        Panel("prompt, tokens/s", "tokens of the prompt", prompts),
        Panel("generation, tokens/s", "tokens of the prompt", medians(measured, "decode")),
    ]
    write(source.with_suffix(".svg"), panels)


def plot_size(source):
    measured = rows(source)

    def line(column):
        return [(float(row["file_bytes"]), float(row[column])) for row in measured]

    def bytes_name(value):
        return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"

    seconds = {
        "import": line("import_s"),
        "generation of 16 behind 128": line("generate_s"),
        "check of it": line("verify_s"),
        "both runs of a dispute": line("both_runs_s"),
        "its moves": line("dispute_s"),
    }
    # What took less than can be seen is drawn at a hundredth of a second.
    seconds = {name: [(x, max(y, 0.01)) for x, y in points] for name, points in seconds.items()}
    gas = {"whole dispute": line("gas"), "its last step": line("step_gas")}
    panels = [
        Panel("seconds", "model file", seconds, y_log=True, x_format=bytes_name),
        Panel("gas, without the opening", "model file", gas, x_format=bytes_name),
    ]
    write(source.with_suffix(".svg"), panels)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    for name, plot in [("context.csv", plot_context), ("size.csv", plot_size)]:
        if (folder / name).is_file():
            plot(folder / name)


if __name__ == "__main__":
    main()
