"""A data set's card: its record as Markdown."""

from collections.abc import Iterator

from labkit.data.records import ImageSet, TextSet


def card(data_set: ImageSet | TextSet) -> str:
    return "\n".join(_lines(data_set))


def _lines(data_set: ImageSet | TextSet) -> Iterator[str]:
    about = data_set.about
    yield from (f"# {about.title} (`{data_set.name}`)", "", about.description, "")
    yield from ("| column | meaning |", "|---|---|")
    yield from (f"| `{name}` | {meaning} |" for name, meaning in about.columns)
    if data_set.classes:
        yield from ("", f"{len(data_set.classes)} classes: {', '.join(data_set.classes)}.")
    yield from ("", "| split | rows | where it comes from |", "|---|---:|---|")
    yield from (f"| {_title(part.name)} | {part.rows:,} | {part.origin} |" for part in about.parts)
    yield from ("", f"Licence: {about.licence}.", "", f"Citation: {about.citation}.")
    yield from ("", f"Fetched from: {about.fetched_from}.", "", "To know before using it:", "")
    yield from (f"- {trap}" for trap in about.traps)
    yield ""


def _title(part: str) -> str:
    return "hidden (the grader's)" if part == "hidden" else f"`{part}`"
