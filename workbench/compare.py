"""The same prompts, the same seeds, a base and its adapters: what each of them writes."""

from workbench import generate, languages, passages, terminal
from workbench import run as runs
from workbench.recipe import CompareRecipe


def make(run: runs.Run, recipe: CompareRecipe) -> None:
    """Let the base and each language's own adapter continue the starter corpus's prompts."""
    speaker = generate.Speaker(recipe.base, recipe.adapters)
    chosen = languages.select(recipe.languages)
    progress = terminal.Progress(f"compare {recipe.name}")
    rows = []
    for number, language in enumerate(chosen, start=1):
        # A later prompt must not depend on how many come before it, so each starts from the seed.
        library = list(passages.prompts(language.tag).items())[: recipe.prompts]
        for name in (generate.BASE, language.tag):
            if name not in speaker.models:
                continue
            texts = [text for _, text in library]
            said = speaker.say(name, language.tag, texts, recipe.sampling)
            rows += [
                {"prompt_id": prompt_id, **one.to_dict()}
                for (prompt_id, _), one in zip(library, said, strict=True)
            ]
        progress.update(f"{number} of {len(chosen)} languages")
    progress.done(f"{len(rows)} texts in {len(chosen)} languages")
    run.result("generations", rows)
    seconds = sum(row["seconds"] for row in rows)
    run.happened(
        texts=len(rows),
        tokens_per_second=round(sum(row["tokens"] for row in rows) / seconds, 1) if seconds else 0,
    )
