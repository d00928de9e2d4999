"""What the same news costs 39 languages in tokens: learned in parity, and from frequency alone.

`python -m benchmarks.tokenizer_parity [DATA]` trains every vocabulary on the same text, each in a
process of its own, measures them on sentences that none has seen, adds the rows to
`results/tokenizer_parity.json` and draws `results/tokenizer_parity.png` from all rows there.

Text: at most 3 MB of each language in `DATA/mono`; Bosnian and Luxembourgish have next to none.
Parallel text: the 1997 sentences of NTREX-128 (Federmann et al. 2022) in `DATA/parallel/ntrex`.
The first 1000 lead to parity, the others are measured on.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
import regex

from benchmarks import common, parity_aware
from workbench import corpus, cutters, fairness, languages, parallel, tokenizer
from workbench.errors import UserError
from workbench.sections import Data, Vocabulary

ABOUT = (
    "Tokens that the same 997 sentences of NTREX take in 39 languages, by vocabulary. "
    "Intervals are 95 % bootstrap intervals over sentences."
)
RESULT = common.RESULTS / "tokenizer_parity.json"
FIGURE = common.RESULTS / "tokenizer_parity.png"
PACKAGES = ("tokenizers", "transformers", "numpy", "regex")
WITHOUT_TEXT = ("bos_Latn", "ltz_Latn")
BYTES_PER_LANGUAGE = 3_000_000
LEADING = 1000
DEFAULT = Vocabulary().parity
SIZES = (32_768, 65_536, 131_072)
TOLERANCES = (0.1, 0.05, DEFAULT, 0.02, 0.01)
# Trained at the smallest size only.
METHODS = {
    "plain": "BPE of tokenizers",
    "parity": "parity",
    "starter": "parity, led by the starter corpus alone",
    "dearest": "parity-aware BPE (Foroutan et al. 2025)",
    "unigram": "Unigram of tokenizers",
}
SERBIAN = "srp_Cyrl"
# Letters of a Serbian Cyrillic text that are Latin ones of the same shape.
LOOK_ALIKE = str.maketrans("aeojcpxyAEOJMTKHBPCX", "аеојсрхуАЕОЈМТКНВРСХ")
_WORD = regex.compile(r"[\p{L}\p{M}]+")
_MIXED = regex.compile(r"\p{Cyrillic}.*\p{Latin}|\p{Latin}.*\p{Cyrillic}")


def chosen(folder: Path) -> list[str]:
    """Return the languages that have a file of running text."""
    files = {file.name.split(".")[0] for file in (folder / "mono").glob("*.jsonl.gz")}
    have = {languages.get(name).tag for name in files}.difference(WITHOUT_TEXT)
    if not have:
        raise UserError(f"no text in {folder / 'mono'}")
    return [tag for tag in languages.tags() if tag in have]


def ntrex(folder: Path) -> parallel.Parallel:
    sources = [str(folder / "parallel" / "ntrex" / "*.jsonl.gz")]
    return parallel.read(sources, chosen(folder), corpus.Faults())


def part_of(same: parallel.Parallel, start: int, end: int | None) -> dict[str, list[str]]:
    return {tag: texts[start:end] for tag, texts in same.texts.items()}


def documents(folder: Path) -> Iterator[tuple[str, str]]:
    data = Data(
        sources=[str(folder / "mono" / "*.jsonl.gz")],
        languages=chosen(folder),
        bytes_per_language=BYTES_PER_LANGUAGE,
    )
    for document in corpus.read(data, corpus.Faults()):
        yield document.lang, document.text


def train(folder: Path, method: str, size: int, tolerance: float, out: Path) -> None:
    """Train one vocabulary and write it with what is known of its training."""
    began = time.perf_counter()
    if method in ("plain", "unigram"):
        texts = (text for _, text in documents(folder))
        made = tokenizer.train(texts, size, 2, "bpe" if method == "plain" else "unigram")
    else:
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for tag, text in documents(folder):
            counted[tag].update(tokenizer.words([text]))
        if method == "starter":
            leading = {tag: list(parallel.starter(tag).values()) for tag in counted}
        else:
            leading = part_of(ntrex(folder), 0, LEADING)
        if method == "dearest":
            made = parity_aware.train(counted, leading, size)
        else:
            made, _ = tokenizer.train_in_parity(counted, leading, size, 2, tolerance)
    seconds = time.perf_counter() - began
    made.save(str(out / "tokenizer.json"))
    common.write_json(out / "facts.json", {"seconds": round(seconds, 1)})


def repaired(text: str) -> str:
    """Return Serbian text with Cyrillic letters for the Latin ones within words that hold both."""
    return _WORD.sub(
        lambda word: word[0].translate(LOOK_ALIKE) if _MIXED.search(word[0]) else word[0], text
    )


def measure(cutter: cutters.Cutter, held_out: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what the held-out sentences cost, with Serbian as it is and repaired."""
    costs = cutters.sentence_costs(cutter, held_out)
    mended = [repaired(text) for text in held_out[SERBIAN]]
    costs_mended = costs | cutters.sentence_costs(cutter, {SERBIAN: mended})
    words = {tag: sum(len(text.split()) for text in texts) for tag, texts in held_out.items()}
    return {
        "as_is": inequality(costs),
        "serbian_repaired": inequality(costs_mended),
        "tokens_per_word": float(np.mean([costs[tag].sum() / words[tag] for tag in costs])),
        "tokens_by_language": {tag: int(own.sum()) for tag, own in costs.items()},
        "tokens_serbian_repaired": int(costs_mended[SERBIAN].sum()),
    }


def inequality(costs: Mapping[str, fairness.Counts]) -> dict[str, Any]:
    """Return how unequal costs are; the dearest and the cheapest relative to the mean of all."""
    row = fairness.inequality(costs).row()
    to_mean = fairness.relative_costs(costs, reference="the mean")
    for name in ("dearest", "cheapest"):
        one = to_mean[row[name]]
        row[f"{name}_to_mean"] = one.value
        row[f"{name}_to_mean_low"], row[f"{name}_to_mean_high"] = one.low, one.high
    return row


def plan(options: argparse.Namespace) -> list[tuple[str, int, float]]:
    """Return method, size and tolerance of every training; 0 where there is no tolerance."""
    wanted = []
    for size in options.sizes:
        first = size == min(SIZES)
        for method in options.methods:
            if method == "parity":
                tolerances = options.tolerances if first else [DEFAULT]
                wanted += [(method, size, tolerance) for tolerance in tolerances]
            elif method == "plain" or first:
                wanted.append((method, size, DEFAULT if method == "starter" else 0.0))
    return wanted


def run(options: argparse.Namespace) -> None:
    same = ntrex(options.data)
    held_out = part_of(same, LEADING, None)
    counted = [_WORD.findall(text) for text in held_out[SERBIAN]]
    damaged = sum(1 for words in counted for word in words if _MIXED.search(word))
    facts = {
        "languages": list(held_out),
        "bytes_per_language": BYTES_PER_LANGUAGE,
        "leading_sentences": LEADING,
        "measured_sentences": len(same.ids) - LEADING,
        "serbian_words_of_mixed_script": damaged / sum(map(len, counted)),
    }
    for method, size, tolerance in plan(options):
        shown = f"{METHODS[method]}, {size:,}" + (f", tolerance {tolerance}" if tolerance else "")
        print(shown, end=" ... ", flush=True)
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            words = [*("train", str(options.data), method, str(size), str(tolerance)), name]
            command = [sys.executable, "-m", "benchmarks.tokenizer_parity", *words]
            try:
                child = common.run_child(command, options.timeout)
            except common.ChildFailed as fault:
                print(fault)
                continue
            cutter = cutters.cutter(str(out / "tokenizer.json"))
            training = json.loads((out / "facts.json").read_text(encoding="utf-8"))
        row = {
            "method": method,
            "size": cutter.size,
            "tolerance": tolerance,
            **training,
            "peak_memory_bytes": child.peak_bytes,
            **measure(cutter, held_out),
        }
        common.merge(RESULT, ABOUT, [row], key, *PACKAGES, **facts)
        found = row["as_is"]
        print(
            f"Gini {found['gini']:.4f}, max/min {found['max_to_min']:.3f}, "
            f"{row['seconds']:.0f} s, {child.peak_bytes / 1e6:,.0f} MB"
        )
        del cutter
        gc.collect()


def key(row: Mapping[str, Any]) -> tuple[str, int, float]:
    return row["method"], row["size"], row["tolerance"]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table, smallest vocabulary first."""
    plain = {row["size"]: row for row in rows if row["method"] == "plain"}
    lines = [
        "| vocabulary | size | Gini | repaired | max/min | repaired | dearest | cheapest "
        "| tokens | per word | seconds | MB |",
        "|---|---:|---:|---:|---:|---:|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        found, mended = row["as_is"], row["serbian_repaired"]
        base = plain.get(row["size"])
        more = found["tokens"] / base["as_is"]["tokens"] - 1 if base else None
        name = METHODS[row["method"]]
        if row["tolerance"]:
            name += f", {row['tolerance']:g}"
        cells = [
            name,
            f"{row['size']:,}",
            with_interval(found, "gini", 4),
            with_interval(mended, "gini", 4),
            with_interval(found, "max_to_min", 2),
            with_interval(mended, "max_to_min", 2),
            *(
                f"{found[end]} {with_interval(found, f'{end}_to_mean', 2)}"
                for end in ("dearest", "cheapest")
            ),
            "" if more is None else f"{more:+.1%}",
            f"{row['tokens_per_word']:.3f}",
            f"{row['seconds']:,.0f}",
            f"{row['peak_memory_bytes'] / 1e6:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_interval(found: Mapping[str, Any], name: str, digits: int) -> str:
    low, high = found[f"{name}_low"], found[f"{name}_high"]
    return f"{found[name]:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def draw(rows: Sequence[Mapping[str, Any]]) -> matplotlib.figure.Figure:
    """Draw Gini against tokens relative to plain BPE of the same size; nearer to zero is better."""
    plain = {row["size"]: row for row in rows if row["method"] == "plain"}
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    curves: dict[tuple[str, int], list[tuple[float, Mapping[str, Any]]]] = defaultdict(list)
    for row in rows:
        if row["size"] in plain:
            more = 100 * (row["as_is"]["tokens"] / plain[row["size"]]["as_is"]["tokens"] - 1)
            curves[row["method"], row["size"]].append((more, row))
    colours = dict(zip(SIZES, ("C0", "C1", "C2"), strict=True))
    markers = {"plain": "s", "parity": "o", "starter": "D", "dearest": "^", "unigram": "v"}
    for (method, size), points in sorted(curves.items(), key=lambda item: item[0][1]):
        points.sort(key=lambda point: point[1]["tolerance"])
        axes.plot(
            [more for more, _ in points],
            [row["serbian_repaired"]["gini"] for _, row in points],
            f"{markers[method]}:" if len(points) > 1 else markers[method],
            color=colours[size],
            markerfacecolor="none",
            markersize=5,
            linewidth=1,
        )
        ginis = [row["as_is"] for _, row in points]
        low, high = ([abs(g[f"gini_{end}"] - g["gini"]) for g in ginis] for end in ("low", "high"))
        axes.errorbar(
            [more for more, _ in points],
            [g["gini"] for g in ginis],
            yerr=[low, high],
            fmt=f"{markers[method]}-" if len(points) > 1 else markers[method],
            color=colours[size],
            capsize=2,
            markersize=5,
            linewidth=1,
            label=f"{METHODS[method]}, {size:,}",
        )
        if len(points) > 1:
            for more, row in points:
                axes.annotate(
                    f"{row['tolerance']:g}",
                    (more, row["as_is"]["gini"]),
                    textcoords="offset points",
                    xytext=(6, 5),
                    fontsize=8,
                    color=colours[size],
                )
    axes.set_xlabel("tokens in all, relative to plain BPE of the same size (%)")
    axes.set_ylabel("Gini coefficient of costs over 39 languages")
    axes.set_ylim(bottom=0)
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    axes.set_title(
        "The same 997 news sentences in 39 languages: how unequal, and at what price\n"
        "numbers are tolerances, bars 95 % intervals; open markers: damaged Serbian words repaired",
        fontsize=10,
    )
    axes.legend(fontsize=8)
    return figure


def summarize() -> None:
    """Print the table and draw the figure of all rows measured so far."""
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    order = list(METHODS)
    rows.sort(key=lambda row: (row["size"], order.index(row["method"]), -row["tolerance"]))
    print(table(rows))
    draw(rows).savefig(FIGURE, dpi=130, metadata={"Software": None})


def main() -> None:
    if sys.argv[1:2] == ["train"]:
        data, method, size, tolerance, out = sys.argv[2:]
        train(Path(data), method, int(size), float(tolerance), Path(out))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=common.DATA)
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--tolerances", type=float, nargs="+", default=TOLERANCES)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one training")
    parser.add_argument("--draw", action="store_true", help="only show what was measured before")
    options = parser.parse_args()
    try:
        if not options.draw:
            run(options)
    except UserError as fault:
        sys.exit(f"{fault}; give the folder of the text that the head of this file describes")
    summarize()


if __name__ == "__main__":
    main()
