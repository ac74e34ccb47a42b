"""The byte counts of docs/export.md are what `python -m bench.export_sizes` prints."""

from pathlib import Path

from bench import export_sizes

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
SLACK = 64  # bytes: a varint of a zero point takes one or two, by calibration


def _told() -> dict[str, list[int]]:
    """The byte counts of every line of the page's first table, by format."""
    lines = [line.strip("|").split("|") for line in PAGE.read_text().splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines if len(line) == 3]
    return {
        name: [int(cell.split()[0].replace(",", "")) for cell in sizes]
        for name, *sizes in cells
        if name in export_sizes.WRITERS
    }


def test_the_pages_table_is_what_the_files_weigh() -> None:
    told = _told()
    found = {row.format: row for row in export_sizes.rows()}
    assert told.keys() == found.keys()
    for name, row in found.items():
        for written, measured in zip(told[name], (row.resnet, row.llama), strict=True):
            assert measured is not None
            assert abs(written - measured) <= SLACK, name
