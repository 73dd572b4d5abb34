"""The caveats of a score: a quantised backbone, prompts cut, rows left out, outputs that could not be parsed."""

from collections.abc import Iterator, Sequence

from iapt.results.row import Row

UNPARSED_SHARE = 0.05  # of the outputs; a smaller share is not worth a remark


def remarks(rows: Sequence[Row]) -> list[str]:
    """Return the remarks on a cell's rows, each with the numbers of the worst row: ``12 of 66 test prompts cut``."""
    found = [dict(_found(row)) for row in rows]
    stored = [row.backbone.quantization for row in rows]
    said = [f"backbone quantised to {kind}" for kind in dict.fromkeys(stored) if kind]
    for what in dict.fromkeys(what for each in found for what in each):
        counts = [each.get(what, (0, 0)) for each in found]
        count, total = max(counts)
        least = "up to " if min(counts)[0] < count else ""
        of = f" of {total:,}" if total else ""
        said.append(f"{least}{count:,}{of} {what}")
    return said


def _found(row: Row) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each remark with its count and the total that this is out of (0 if unknown)."""
    sizes = dict(row.data.sizes)
    sizes["follow_ups"] = max(0, row.scores.n - sizes.get("test", row.scores.n))
    for split, count in row.data.truncated.items():
        if count:
            yield (
                f"{'follow-up' if split == 'follow_ups' else split} prompts cut",
                (count, sizes.get(split, 0)),
            )
    for split, count in row.data.skipped.items():
        if count:
            yield f"{split} rows left out", (count, sizes.get(split, 0) + count)
    if row.scores.n_unparsed > UNPARSED_SHARE * row.scores.n:
        yield "outputs unparsed", (row.scores.n_unparsed, row.scores.n)
