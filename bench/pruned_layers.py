"""What pruning a layer with outliers loses, by magnitude, Wanda, SparseGPT and least squares.

    python -m bench.pruned_layers

Mean relative output error on held-out tokens over eight layers of outlier_layers.py, half of the
weights removed: of each row, or two of every four, or (SparseGPT, the exact surgeon) of the layer.
"""

from collections.abc import Callable, Iterable

from torch import Tensor

from bench.outlier_layers import SEEDS, OutlierLayer, outlier_layer
from reference.pruning.gradient.layerwise import by_magnitude
from reference.pruning.gradient.obc import obc
from reference.pruning.gradient.pruned import NOfM, PrunedLayer
from reference.pruning.gradient.refit import refit
from reference.pruning.gradient.sparsegpt import SparseGptConfig, mended_on, sparsegpt
from reference.pruning.gradient.wanda import wanda

HALF = 0.5
TWO_OF_FOUR = NOfM(2, 4)


def _magnitude(layer: OutlierLayer) -> Tensor:
    return by_magnitude(layer.weight, layer.statistics, HALF).weight


def _wanda(layer: OutlierLayer) -> PrunedLayer:
    return wanda(layer.weight, layer.statistics, HALF)


def _sparsegpt(layer: OutlierLayer) -> PrunedLayer:
    return sparsegpt(layer.weight, layer.statistics, HALF)


METHODS: dict[str, Callable[[OutlierLayer], Tensor]] = {
    "magnitude": _magnitude,
    "Wanda": lambda layer: _wanda(layer).weight,
    "Wanda's mask, mended as SparseGPT": lambda layer: (
        mended_on(layer.weight, layer.statistics, _wanda(layer).mask).weight
    ),
    "SparseGPT": lambda layer: _sparsegpt(layer).weight,
    "SparseGPT's mask, not mended": lambda layer: layer.weight * _sparsegpt(layer).mask,
    "SparseGPT's mask, refitted": lambda layer: (
        refit(layer.weight, layer.statistics, _sparsegpt(layer).mask).weight
    ),
    "Wanda's mask, refitted": lambda layer: (
        refit(layer.weight, layer.statistics, _wanda(layer).mask).weight
    ),
    "exact surgeon": lambda layer: obc(layer.weight, layer.statistics, HALF).weight,
    "Wanda, 2:4": lambda layer: wanda(layer.weight, layer.statistics, TWO_OF_FOUR).weight,
    "SparseGPT, 2:4": lambda layer: sparsegpt(layer.weight, layer.statistics, TWO_OF_FOUR).weight,
    "SparseGPT, masks by blocks of 32": lambda layer: (
        sparsegpt(layer.weight, layer.statistics, HALF, SparseGptConfig(block_size=32)).weight
    ),
    "exact surgeon, 2:4": lambda layer: obc(layer.weight, layer.statistics, TWO_OF_FOUR).weight,
}


def errors(method: str, seeds: Iterable[int] = SEEDS) -> list[float]:
    """The relative error of each layer."""
    prune = METHODS[method]
    layers = map(outlier_layer, seeds)
    return [layer.relative_error(prune(layer)) for layer in layers]


def main() -> None:
    plain = errors("magnitude")
    print(f"{'method':36} {'mean':>8} {'to magnitude':>13} {'most':>8}")
    for method in METHODS:
        found = errors(method)
        ratios = [each / base for each, base in zip(found, plain, strict=True)]
        mean, ratio = sum(found) / len(found), sum(ratios) / len(ratios)
        print(f"{method:36} {mean:8.5f} {ratio:13.3f} {max(ratios):8.3f}")


if __name__ == "__main__":
    main()
