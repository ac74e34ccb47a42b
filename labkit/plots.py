"""Figures that the notebooks share: numbers in, a matplotlib figure out, nothing drawn by itself.

Each figure is closed before it is returned, so a notebook shows it once: as the value of its cell.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

SIZE = (6.4, 3.6)  # inches
GRID_LINES = 64  # a finer grid is drawn as its two ends


def bars(values: Mapping[str, float], ylabel: str, title: str = "", log: bool = False) -> Figure:
    """One bar per name, each with its number on top."""
    figure, axes = _blank(title, "", ylabel)
    drawn = axes.bar(list(values), list(values.values()), color="C0", width=0.6)
    axes.bar_label(drawn, fmt="%.3g", padding=2)
    axes.margins(y=0.15)
    if log:
        axes.set_yscale("log")
    if len(values) > 4:
        plt.setp(axes.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    return figure


def lines(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    logx: bool = False,
    logy: bool = False,
) -> Figure:
    """One line per name over the same x."""
    figure, axes = _blank(title, xlabel, ylabel)
    for (name, y), marker in zip(curves.items(), "osD^vPX*" * len(curves), strict=False):
        axes.plot(x, y, marker=marker if len(x) <= 20 else "", label=name)
    if logx:
        axes.set_xscale("log", base=2)
    if logy:
        axes.set_yscale("log")
    if len(curves) > 1:
        axes.legend()
    return figure


def histogram(
    values: Float[Tensor, "..."],
    grid: Sequence[float] = (),
    xlabel: str = "value",
    title: str = "",
    bins: int = 200,
) -> Figure:
    """How often each value occurs, on a log axis, and where the points of a grid lie."""
    figure, axes = _blank(title, xlabel, "count")
    axes.hist(values.detach().flatten().numpy(), bins=bins, color="C0", log=True)
    shown = grid if len(grid) <= GRID_LINES else (min(grid), max(grid))
    for point in shown:
        axes.axvline(point, color="C3", linewidth=0.8, alpha=0.7)
    if grid:
        axes.plot([], [], color="C3", label=f"{len(grid)} grid points")
        axes.legend()
    return figure


def channel_ranges(
    low: Float[Tensor, " channels"], high: Float[Tensor, " channels"], title: str = ""
) -> Figure:
    """The range of each channel as a bar, and the one range that covers them all as two lines."""
    figure, axes = _blank(title, "output channel", "weight")
    span = (high - low).numpy()
    axes.bar(range(len(low)), span, bottom=low.numpy(), width=0.8, label="range of the channel")
    for end in (low.min(), high.max()):
        axes.axhline(end.item(), color="C3", linewidth=1)
    axes.plot([], [], color="C3", label="range of the tensor")
    axes.margins(y=0.2)
    axes.legend(loc="upper right")
    return figure


def trade_off(
    points: Mapping[str, tuple[float, float]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    x_target: float | None = None,
    y_target: float | None = None,
) -> Figure:
    """Each variant as a named point, larger being better on both axes, and the targets."""
    figure, axes = _blank(title, xlabel, ylabel)
    for index, (name, (x, y)) in enumerate(points.items()):
        axes.scatter(x, y, s=45, marker="osD^vPX*"[index % 8], label=name, zorder=3)
    if x_target is not None:
        axes.axvline(x_target, color="0.4", linestyle="--", linewidth=1)
    if y_target is not None:
        axes.axhline(y_target, color="0.4", linestyle="--", linewidth=1)
    axes.margins(0.15)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _blank(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    plt.close(figure)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes
