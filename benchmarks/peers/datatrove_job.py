"""datatrove at the work that the inspection benchmark compares, in an environment of its own.

    python -m venv PEER && PEER/bin/pip install 'datatrove[processing]==0.10.1' orjson spacy
    PEER/bin/python benchmarks/peers/datatrove_job.py TEXT WORK REPORT --words spacy

TEXT holds JSON Lines, ``<ISO 639-3>_<script>.jsonl`` each. Every file is a task, as in FineWeb-2,
where every language has its own filters; two workers share the tasks. The filters' limits are so
wide that no document is dropped: each goes through every measure of every filter and gets a
signature. With narrow limits the first measure that is out of range would end the work on it.
"""

import argparse
import json
import math
import struct
import time
from importlib import metadata
from pathlib import Path

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.utils.word_tokenizers import SpaCyTokenizer, WordTokenizer

CONFIG = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
# datatrove cuts these with Stanza, whose models have to be downloaded and are slower. It gets the
# tokenizer that it uses for languages without one of their own.
WITHOUT_SPACY = ("cym", "glg", "mlt")


class Whitespace(WordTokenizer):
    """The fastest there is in Python: cut at white space."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError("nothing here cuts sentences")

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        raise NotImplementedError("nothing here cuts sentences")


class OneLanguage(PipelineStep):
    """The filters and the signatures of the language that the task's one file is in."""

    name = "One language"
    type = "BENCHMARK"

    def __init__(self, languages: list[str], signatures: str, words: str):
        super().__init__()
        self.languages = languages
        self.signatures = signatures
        self.words = words

    def run(self, data, rank: int = 0, world_size: int = 1):
        language = tokenizer_of(self.languages[rank], self.words)
        steps = [
            GopherQualityFilter(
                min_doc_words=-1,
                max_doc_words=math.inf,
                min_avg_word_length=-1,
                max_avg_word_length=math.inf,
                max_symbol_word_ratio=math.inf,
                max_bullet_lines_ratio=math.inf,
                max_ellipsis_lines_ratio=math.inf,
                max_non_alpha_words_ratio=-1,
                min_stop_words=-1,
                language=language,
            ),
            GopherRepetitionFilter(
                dup_line_frac=math.inf,
                dup_para_frac=math.inf,
                dup_line_char_frac=math.inf,
                dup_para_char_frac=math.inf,
                top_n_grams=tuple((n, math.inf) for n in (2, 3, 4)),
                dup_n_grams=tuple((n, math.inf) for n in (5, 6, 7, 8, 9, 10)),
                language=language,
            ),
            FineWebQualityFilter(
                line_punct_thr=-1,
                short_line_thr=math.inf,
                char_duplicates_ratio=math.inf,
                new_line_ratio=math.inf,
                language=language,
            ),
            MinhashDedupSignature(self.signatures, CONFIG, language),
        ]
        for step in steps:
            data = step.run(data, rank, world_size)
        # The last one makes files, not documents.
        assert data is None
        passed = [step.stats["forwarded"].total for step in steps[:3]]
        (Path(self.signatures) / f"{rank:05d}.json").write_text(json.dumps(passed))
        return iter(())


def tokenizer_of(language: str, words: str) -> str | WordTokenizer:
    if words == "whitespace":
        return Whitespace()
    return SpaCyTokenizer("xx") if language.startswith(WITHOUT_SPACY) else language


def main() -> None:
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("work", type=Path, help="a folder that is not there yet")
    parser.add_argument("report", type=Path, help="what was measured, as JSON")
    parser.add_argument("--words", choices=("spacy", "whitespace"), required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    languages = [file.stem for file in sorted(options.text.glob("*.jsonl"))]
    signatures, buckets, removed = (
        str(options.work / name) for name in ("signatures", "buckets", "removed")
    )
    stages = {
        "signals and signatures": (
            [JsonlReader(str(options.text)), OneLanguage(languages, signatures, options.words)],
            len(languages),
        ),
        "buckets": ([MinhashDedupBuckets(signatures, buckets, config=CONFIG)], CONFIG.num_buckets),
        "clusters": ([MinhashDedupCluster(buckets, removed, config=CONFIG)], 1),
    }
    seconds = {}
    for name, (pipeline, tasks) in stages.items():
        start = time.perf_counter()
        LocalPipelineExecutor(
            pipeline,
            tasks=tasks,
            workers=min(tasks, options.workers),
            logging_dir=str(options.work / "logs" / name.replace(" ", "-")),
        ).run()
        seconds[name] = round(time.perf_counter() - start, 2)
    seconds["all, with imports left out"] = round(time.perf_counter() - began, 2)

    # The clock has stopped; what follows is for comparing the duplicates.
    passed = [
        json.loads((Path(signatures) / f"{rank:05d}.json").read_text())
        for rank in range(len(languages))
    ]
    pairs = []
    for file in sorted(Path(buckets).glob("*.dups")):
        pairs += list(struct.iter_unpack("<4I", file.read_bytes()))
    dropped = {
        languages[int(file.stem)]: [one for (one,) in struct.iter_unpack("<I", file.read_bytes())]
        for file in sorted(Path(removed).glob("*.remove"))
    }
    options.report.write_text(
        json.dumps(
            {
                "seconds": seconds,
                "documents": {
                    "after Gopher quality": sum(one[0] for one in passed),
                    "after Gopher repetition": sum(one[1] for one in passed),
                    "after FineWeb quality": sum(one[2] for one in passed),
                },
                "languages": languages,
                "pairs": sorted(set(pairs)),
                "dropped": dropped,
                "versions": {
                    name: metadata.version(name)
                    for name in ("datatrove", "spacy", "numpy", "xxhash", "orjson")
                },
            }
        )
    )


if __name__ == "__main__":
    main()
