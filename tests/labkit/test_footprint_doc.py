"""The tables of docs/footprint.md are what `python -m bench.footprint` prints."""

from pathlib import Path

from bench import footprint

PAGE = Path(__file__).parents[2] / "docs" / "footprint.md"


def test_the_pages_tables_are_what_the_bench_prints() -> None:
    page = PAGE.read_text()
    found = [footprint.row(title) for title in footprint.MODELS]
    assert footprint.bytes_table(found) in page
    assert footprint.operations_table(found) in page
