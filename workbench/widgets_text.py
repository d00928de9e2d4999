"""Panels of text for the notebooks: what is in it, and how tokenizers cut it.

Each panel has a function beside it that does the same without widgets.
"""

import re
from collections.abc import Mapping, Sequence

import ipywidgets as w
from IPython.display import HTML

from workbench import corpus, cutters, fairness, parallel, passages, render, sections
from workbench import languages as registry
from workbench import run as runs
from workbench.errors import UserError, nearest
from workbench.panel import WIDE, Panel
from workbench.samples import Found, Sample, Samples, searched

_SENTENCE = re.compile(r"[\w-]+#\d+")
# A longer text of one's own makes more boxes than a browser draws at once.
LONGEST = 20_000


def cuts(
    references: str | Sequence[str], text: str = "", languages: str | Sequence[str] = "all"
) -> HTML:
    """Show how tokenizers cut a sentence in every language at once, or a text of one's own.

    Args:
        references: one tokenizer or several to see side by side, each as in
            :func:`workbench.cutters.cutter`.
        text: a sentence of the starter corpus by its id, such as ``river-ferry#0``; any other text
            is cut as it is. Empty takes the first sentence that the starter recipes hold back.
        languages: codes, names, a status or ``all``; a single string may hold several between
            commas. A text of one's own is in one of them, or in none that is known.

    Raises:
        UserError: a tokenizer cannot be opened, or there is no such sentence or language.
    """
    named = [references] if isinstance(references, str) else list(references)
    opened = {name: cutters.cutter(name) for name in named}
    return HTML(_page(opened, text, languages))  # type: ignore[no-untyped-call]


class TokenView(Panel):
    """Choose tokenizers, a sentence or a text of your own, and languages; see the cuts."""

    def __init__(self, *references: str) -> None:
        super().__init__()
        self._opened: dict[str, cutters.Cutter] = {}
        made = [run for run in runs.every() if run.path.parent.name == "tokenizer"]
        known = dict.fromkeys([*references, *(run.reference for run in made if run.finished)])
        self.tokenizers = w.SelectMultiple(
            options=list(known),
            value=references or list(known)[:1],
            description="Tokenizers",
            tooltip="Hold Ctrl or Shift to choose several",
            rows=4,
        )
        self.passage = w.Dropdown(
            options=[
                (f"{facts['theme']} ({name})", name)
                for name, facts in passages.index()["passages"].items()
            ],
            value=_held_back(),
            description="Passage",
            tooltip="A text of the starter corpus, the same in every language",
        )
        self.sentence = w.Dropdown(
            description="Sentence", tooltip="Which sentence of the passage", layout=WIDE
        )
        self.own = w.Textarea(
            description="Own text",
            placeholder="Leave empty to cut the sentence",
            tooltip="A text to cut in place of the sentence",
            layout=WIDE,
        )
        self.languages = w.Text(
            value="all",
            description="Languages",
            tooltip="Codes, names or a status between commas: mt, Greek, candidate; or all",
        )
        self.button = w.Button(
            description="Cut", tooltip="Cut the text with every chosen tokenizer", icon="cut"
        )
        self.result = w.HTML(layout=WIDE)
        self.passage.observe(self._fill_sentences, "value")
        self.button.on_click(self._guarded(self._cut))
        self._fill_sentences()
        self.children = [
            w.HBox([self.tokenizers, w.VBox([self.passage, self.languages])]),
            self.sentence,
            self.own,
            self.button,
            self.status,
            self.result,
        ]
        self._guarded(self._cut)()

    def _fill_sentences(self, change: object = None) -> None:
        sentences = passages.read(fairness.REFERENCE)[self.passage.value]
        self.sentence.options = [
            (text, f"{self.passage.value}#{number}") for number, text in enumerate(sentences)
        ]
        self.sentence.value = self.sentence.options[0][1]

    def _cut(self) -> None:
        if not self.tokenizers.value:
            raise UserError("choose at least one tokenizer")
        self.button.disabled = True
        try:
            for name in self.tokenizers.value:
                if name not in self._opened:
                    self._tell(f"opening {name} ...")
                    self._opened[name] = cutters.cutter(name)
            chosen = {name: self._opened[name] for name in self.tokenizers.value}
            text = self.own.value if self.own.value.strip() else self.sentence.value
            self.result.value = _page(chosen, text, self.languages.value)
            self._tell(f"Done: cut by {', '.join(chosen)}.")
        finally:
            self.button.disabled = False


def _held_back() -> str:
    """Return the first passage that recipes measure on, unless they say otherwise."""
    data = sections.Data()
    return next(
        name for name in passages.index()["passages"] if corpus.split_of(name, data) == "test"
    )


def _page(opened: Mapping[str, cutters.Cutter], text: str, languages: str | Sequence[str]) -> str:
    words = languages.split(",") if isinstance(languages, str) else languages
    chosen = registry.select([word.strip() for word in words if word.strip()])
    sentences = parallel.starter(fairness.REFERENCE)
    name = text or f"{_held_back()}#0"
    if name in sentences:
        rows = _in_languages(opened, name, chosen)
        caption = f"{name}, the dearest first. In English: {sentences[name]}"
    elif _SENTENCE.fullmatch(name):
        raise UserError(
            f"the starter corpus has no sentence {name!r}{nearest(name, sentences)}; "
            "an id is a passage and a number, such as 'river-ferry#0'"
        )
    else:
        rows = [_own_text(opened, text, chosen)]
        caption = "A text of your own"
    heads = [f"{one}, {cutter.size:,} tokens" for one, cutter in opened.items()]
    return render.page(render.cuts(rows, heads, caption))


def _in_languages(
    opened: Mapping[str, cutters.Cutter], name: str, chosen: Sequence[registry.Language]
) -> list[render.CutText]:
    english = parallel.starter(fairness.REFERENCE)[name]
    units = [len(cutters.pieces(cutter, english)) for cutter in opened.values()]
    rows = []
    for language in chosen:
        sentence = parallel.starter(language.tag)[name]
        pieces = [cutters.pieces(cutter, sentence) for cutter in opened.values()]
        rows.append(
            render.CutText(
                language.name,
                language.own_name,
                language.bcp47,
                pieces,
                [len(own) / unit for own, unit in zip(pieces, units, strict=True)],
            )
        )
    return sorted(rows, key=lambda row: -len(row.pieces[0]))


def _own_text(
    opened: Mapping[str, cutters.Cutter], text: str, chosen: Sequence[registry.Language]
) -> render.CutText:
    if len(text) > LONGEST:
        raise UserError(f"the text has {len(text):,} characters; at most {LONGEST:,} are shown")
    if len(chosen) not in (1, len(registry.tags())):
        raise UserError(
            f"a text of your own is in one language, not in {len(chosen)}; "
            "name it, or leave languages at 'all'"
        )
    language = chosen[0] if len(chosen) == 1 else None
    return render.CutText(
        language.name if language else "own text",
        language.own_name if language else "",
        language.bcp47 if language else "",
        [cutters.pieces(cutter, text) for cutter in opened.values()],
        [None] * len(opened),
    )


def samples(
    reference: str,
    lang: str = "",
    source: str = "",
    flag: str = "",
    search: str = "",
    number: int = 1,
) -> HTML:
    """Show one of the documents that an inspection laid out to be read.

    Args:
        reference: an inspection, as ``inspect/<name>``.
        lang: any code or name of a language; empty for all, here and below.
        source: name of a source.
        flag: a filter that objects, ``dropped``, or ``random`` for the random sample alone.
        search: a stretch of the text or of the id, whatever the case.
        number: which of the documents that answer to all this, from 1.

    Raises:
        UserError: there is no such inspection, language, source, flag or document.
    """
    found = Samples(reference).find(lang, source, flag, search)
    if not found.samples:
        return HTML(render.page(render.status(_told(found, search, number))))  # type: ignore[no-untyped-call]
    if not 1 <= number <= len(found.samples):
        raise UserError(f"there is no document {number}; there are {len(found.samples):,} to see")
    said = render.status(_told(found, search, number))
    shown = _shown(found.samples[number - 1], search)
    return HTML(render.page(said + shown))  # type: ignore[no-untyped-call]


class SampleBrowser(Panel):
    """Search the documents that an inspection laid out, and read them one by one."""

    def __init__(self, reference: str) -> None:
        super().__init__()
        self._samples = Samples(reference)
        self._found = Found([], 0, cut_short=False)
        self.search = w.Text(
            description="Search",
            placeholder="a stretch of text or of an id, then Enter",
            tooltip="Whatever the case; press Enter",
            continuous_update=False,
            layout=WIDE,
        )
        self.language = w.Dropdown(
            options=[("all", "")]
            + [(registry.get(tag).name, tag) for tag in self._samples.languages],
            description="Language",
            tooltip="The declared language",
        )
        self.source = w.Dropdown(
            options=[("all", ""), *((one, one) for one in self._samples.sources)],
            description="Source",
            tooltip="Where the document comes from",
        )
        self.flag = w.Dropdown(
            options=[("all", ""), *((one, one) for one in self._samples.flags)],
            description="Filter",
            tooltip="What objects to the document, or why it was dropped; random: read as it comes",
        )
        self.previous = w.Button(
            description="Previous", tooltip="The document before", icon="arrow-left"
        )
        self.next = w.Button(description="Next", tooltip="The document after", icon="arrow-right")
        self.number = w.BoundedIntText(
            value=1,
            min=1,
            max=1,
            description="Number",
            tooltip="Which of the documents found",
            layout=w.Layout(width="180px"),
        )
        self.result = w.HTML(layout=WIDE)
        for control in (self.search, self.language, self.source, self.flag):
            control.observe(self._guarded(self._find), "value")
        self.number.observe(self._guarded(self._show), "value")
        self.previous.on_click(self._guarded(lambda: self._step(-1)))
        self.next.on_click(self._guarded(lambda: self._step(1)))
        self.children = [
            self.search,
            w.HBox([self.language, self.source, self.flag], layout=w.Layout(flex_flow="row wrap")),
            w.HBox([self.previous, self.next, self.number]),
            self.status,
            self.result,
        ]
        self._guarded(self._find)()

    def _find(self) -> None:
        self._found = Found([], 0, cut_short=False)
        try:
            self._found = self._samples.find(
                self.language.value, self.source.value, self.flag.value, self.search.value
            )
        finally:
            self.number.max = max(1, len(self._found.samples))
            self.number.value = 1
            self._show()

    def _step(self, step: int) -> None:
        # Bounds hold at both ends.
        self.number.value += step

    def _show(self) -> None:
        number, count = self.number.value, len(self._found.samples)
        self.previous.disabled, self.next.disabled = number <= 1, number >= count
        self.result.value = (
            render.page(_shown(self._found.samples[number - 1], self.search.value)) if count else ""
        )
        self._tell(_told(self._found, self.search.value, number))


def _shown(sample: Sample, search: str) -> str:
    masked = sample.masked()
    return render.sample(
        masked.text, registry.get(sample.lang).bcp47, sample.about(), masked.marks(search)
    )


def _told(found: Found, search: str, number: int) -> str:
    """Say how many documents answer, and which one is shown."""
    told = f"{found.total:,} documents" if found.total != 1 else "1 document"
    if search.strip():
        told += f" with “{search.strip()}”"
    if found.samples:
        sample = found.samples[number - 1].masked()
        told = f"Document {number:,} of {told}"
        if search.strip():
            hits = sum(mark.kind == "hit" for mark in sample.marks(search))
            pattern = searched(search)
            in_id = pattern is not None and pattern.search(sample.id)
            place = "its id" if in_id else "what is masked"
            told += f", {hits:,} here" if hits else f", here in {place}"
        if len(found.samples) < found.total:
            told += f"; only the first {len(found.samples):,} can be seen"
    if found.cut_short:
        told += "; more was dropped than one search reads, and the rest was not looked at"
    return f"{told}."
