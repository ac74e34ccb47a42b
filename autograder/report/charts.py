"""The three pictures of a report, as SVG that follows the page's light or dark colours.

Whatever a picture says stands in the table beside it too: a picture is never the only source.
"""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autograder.book.totals import Total
from autograder.lab import Threshold
from autograder.records import Artefact, Finding, Measurement
from autograder.report.text import number

TOP_TENSORS = 8
LABEL_CHARACTERS = 34  # what fits left of the bars
PAIRS_WORTH_A_HISTOGRAM = 5
SUBMISSIONS_WORTH_A_HISTOGRAM = 8

# matplotlib knows no CSS variables: these stand for them until the SVG is text
INK, MUTED, MINE, BASELINE, FULL, NONE = (f"#0102{n:02x}" for n in range(6))
_CSS_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    MINE: "var(--mine)",
    BASELINE: "var(--baseline)",
    FULL: "var(--pass)",
    NONE: "var(--fail)",
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def chart(
    threshold: Threshold, measurement: Measurement, artefact: Artefact | Finding | None
) -> Markup | None:
    """The picture that belongs to a metric, or None where there is nothing to draw."""
    with _style():
        if threshold.metric == "compression_ratio" and isinstance(artefact, Artefact):
            return _size_ledger(artefact, _detail(measurement, "baseline_bytes"))
        if threshold.metric == "accuracy_kept" and measurement.value is not None:
            return _accuracy(threshold, measurement)
        if threshold.metric == "speedup":
            return _timing(threshold, measurement)
    return None


def class_chart(totals: Sequence[Total]) -> Markup | None:
    """How the points of a class are spread; None for fewer than a histogram is worth."""
    if len(totals) < SUBMISSIONS_WORTH_A_HISTOGRAM:
        return None
    of = max(total.of for total in totals)
    points = [total.points for total in totals]
    with _style():
        figure, axes = _plot(height=1.9)
        axes.hist(points, bins=20, range=(0, of), color=MINE, alpha=0.45)
        axes.set_xlim(0, of)
        axes.set_ylabel("submissions")
        axes.set_xlabel(f"points, of {of}")
        middle = float(np.median(points))
        words = f"{len(points)} submissions, median {number(middle)} of {of} points."
        return _svg(figure, "class", "Points of the class", words)


def course_chart(shares: Mapping[str, Sequence[float]]) -> Markup | None:
    """The spread of points in each lab, in percent; None before a lab has been graded."""
    shown = {lab: list(each) for lab, each in shares.items() if each}
    if not shown:
        return None
    with _style():
        figure, axes = _plot(height=1.1 + 0.28 * len(shown))
        lines = {"color": INK}
        axes.boxplot(
            list(shown.values())[::-1], vert=False, tick_labels=list(shown)[::-1], showfliers=False,
            boxprops=lines, whiskerprops=lines, capprops=lines, medianprops={"color": MINE},
        )  # fmt: skip
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of a lab's points; box: the middle half, line: the median")
        medians = "; ".join(f"{lab}: {number(float(np.median(v)))} %" for lab, v in shown.items())
        return _svg(figure, "course", "Points by lab", f"Medians by lab: {medians}.")


def _style() -> AbstractContextManager[None]:
    return matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "report",
            "font.size": 10.0,
            "text.color": INK,
            "text.parse_math": False,  # a tensor's name may hold a dollar sign
            "axes.edgecolor": MUTED,
            "axes.labelcolor": MUTED,
            "xtick.color": MUTED,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.spines.left": False,
        }
    )


def _detail(measurement: Measurement, key: str) -> float | None:
    value = measurement.details.get(key)
    return None if isinstance(value, str) else value


def _size_ledger(artefact: Artefact, baseline_bytes: float | None) -> Markup:
    parts = _parts(artefact)
    figure = Figure(figsize=(6.6, 1.5 + 0.25 * len(parts)))
    above, below = figure.subplots(2, gridspec_kw={"height_ratios": [2.2, len(parts)]})
    figure.subplots_adjust(left=0.42, right=0.80, top=0.93, bottom=0.02, hspace=0.32)
    totals = [("Submitted model", artefact.size_bytes, MINE)]
    summary = f"{artefact.size_bytes:,} bytes"
    if baseline_bytes:
        totals.insert(0, ("Baseline", int(baseline_bytes), BASELINE))
        ratio = f"the baseline is {number(baseline_bytes / artefact.size_bytes)} times as large"
        above.set_title(ratio, loc="left", color=MUTED, size=9)
        summary += f", against {int(baseline_bytes):,} bytes: {ratio}"
    _bars(above, totals)
    _bars(below, [(label, size, MINE) for label, size in parts])
    below.set_title(
        "parts of the submitted model, on their own scale", loc="left", color=MUTED, size=9
    )
    largest = ", ".join(f"{label} {size:,} bytes" for label, size in parts[:3])
    return _svg(figure, "size", "Where the bytes are", f"{summary}. Largest parts: {largest}.")


def _parts(artefact: Artefact) -> list[tuple[str, int]]:
    tensors = sorted(artefact.ledger, key=lambda tensor: (-tensor.size_bytes, tensor.name))
    parts = [
        (_label(f"{tensor.name} {tensor.dtype}"), tensor.size_bytes)
        for tensor in tensors[:TOP_TENSORS]
    ]
    rest = tensors[TOP_TENSORS:]
    if rest:
        parts.append((f"{len(rest)} smaller tensors", sum(tensor.size_bytes for tensor in rest)))
    return [*parts, ("Graph: nodes and attributes", artefact.graph_bytes)]


def _label(name: str) -> str:
    """A name fit for an axis: ASCII, since a font may lack the rest, and cut in its middle."""
    ascii_name = name.encode("ascii", "backslashreplace").decode()
    printable = "".join(c for c in ascii_name if c.isprintable())
    if len(printable) <= LABEL_CHARACTERS:
        return printable
    half = LABEL_CHARACTERS // 2 - 1
    return f"{printable[:half]}..{printable[-half:]}"


def _bars(axes: Axes, rows: Sequence[tuple[str, int, str]]) -> None:
    positions = range(len(rows))
    widths = [size for _, size, _ in rows]
    axes.barh(positions, widths, color=[colour for _, _, colour in rows], height=0.66)
    axes.set_yticks(positions, [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(*widths, 1))
    for position, width in zip(positions, widths, strict=True):
        axes.annotate(
            f"{width:,} B", (width, position), (4, 0), textcoords="offset points", va="center"
        )
    axes.tick_params(length=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _accuracy(threshold: Threshold, measurement: Measurement) -> Markup:
    value = measurement.value
    assert value is not None
    figure, axes = _plot(height=1.85)
    axes.set_xlim(_limits(threshold, [100.0, value.low, value.high]))
    axes.set_ylim(-0.6, 1.6)
    axes.set_yticks([1, 0], ["Baseline", "Submitted model"])
    axes.tick_params(axis="y", length=0)
    _thresholds(axes, threshold)
    axes.plot([100], [1], "s", color=BASELINE, markersize=6)
    _interval(axes, measurement, height=0)
    axes.set_xlabel("accuracy on hidden data, in percent of the baseline's accuracy")
    description = (
        f"{number(value.value)}, 95 % interval {number(value.low)} to {number(value.high)}; "
        f"the baseline is 100; {_bounds(threshold)}."
    )
    return _svg(figure, "accuracy", "Accuracy kept, in percent of the baseline", description)


def _timing(threshold: Threshold, measurement: Measurement) -> Markup | None:
    ratios = _pair_ratios(measurement)
    if len(ratios) < PAIRS_WORTH_A_HISTOGRAM:
        return None
    figure, axes = _plot(height=2.45)
    value = measurement.value
    middle = list(np.quantile(ratios, [0.01, 0.99]))
    low, high = _limits(threshold, middle + ([value.low, value.high] if value else []))
    counts, _, _ = axes.hist(ratios, bins=30, range=(low, high), color=MINE, alpha=0.45)
    tallest = float(np.max(counts))
    axes.set_xlim(low, high)
    axes.set_ylim(-0.3 * tallest, 1.05 * tallest)
    axes.set_yticks([])
    _thresholds(axes, threshold)
    if value is not None:
        _interval(axes, measurement, height=-0.15 * tallest)
    outside = int(((ratios < low) | (ratios > high)).sum())
    axes.set_xlabel(
        f"baseline time / submitted model's time, {len(ratios)} pairs"
        + (f" ({outside} outside of the picture)" if outside else "")
    )
    median = f"median {number(float(np.median(ratios)))}"
    description = f"{len(ratios)} pairs, {median}; {_bounds(threshold)}."
    return _svg(figure, "timing", "Speed-up in each pair of runs", description)


def _pair_ratios(measurement: Measurement) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    baseline = np.asarray(measurement.samples.get("baseline_cpu_ms", []), dtype=np.float64)
    candidate = np.asarray(measurement.samples.get("candidate_cpu_ms", []), dtype=np.float64)
    if len(baseline) != len(candidate):
        return np.empty(0)
    timed = (candidate > 0) & (baseline > 0)  # a clock too coarse for one run gives 0
    return baseline[timed] / candidate[timed]


def _plot(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.6, height))
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.2, right=0.98, bottom=0.48 / height, top=1 - 0.4 / height)
    return figure, axes


def _limits(threshold: Threshold, shown: Sequence[float]) -> tuple[float, float]:
    values = [threshold.full, threshold.none, *shown]
    margin = 0.12 * (max(values) - min(values))
    return min(values) - margin, max(values) + margin


def _thresholds(axes: Axes, threshold: Threshold) -> None:
    """Both lines; their labels stand in two rows, since the lines may stand close together."""
    lines = [(threshold.full, "full points at", FULL, "-"), (threshold.none, "none at", NONE, "--")]
    middle = sum(axes.get_xlim()) / 2
    for row, (x, name, colour, dashes) in enumerate(lines):
        axes.axvline(x, color=colour, linestyle=dashes, linewidth=1.3)
        axes.annotate(
            f"{name} {number(x)}",
            (x, 1),
            (0, 3 + 12 * row),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="left" if x < middle else "right",
            color=colour,
        )


def _interval(axes: Axes, measurement: Measurement, height: float) -> None:
    value = measurement.value
    assert value is not None
    axes.plot([value.low, value.high], [height, height], "|-", color=MINE, linewidth=2)
    axes.plot([value.value], [height], "o", color=MINE, markersize=6)


def _bounds(threshold: Threshold) -> str:
    return f"full points at {number(threshold.full)}, none at {number(threshold.none)}"


def _svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = buffer.getvalue().partition("<svg ")[2]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would style the whole page
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)  # ids are shared by the page
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    for placeholder, variable in _CSS_COLOURS.items():
        svg = svg.replace(placeholder, variable)
    opening = f'<svg role="img" class="chart" aria-labelledby="{name}-title {name}-description" '
    head, _, body = svg.partition(">")
    words = (
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-description">{escape(description)}</desc>'
    )
    return Markup(f"{opening}{head}>{words}{body}")
