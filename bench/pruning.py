"""This project's pruners: how far they get on the baselines, and beside those of the field.

    python -m bench.pruning [resnet bert sparse peers search vit] [--json] [--quick]

    resnet    channels of resnet_cifar10
    bert      heads, neurons, layers and width of bert_movie_reviews
    sparse    bert_movie_reviews with a tenth of its linear weights
    peers     resnet_cifar10 by torch-pruning, nni and torch.nn.utils.prune, at equal budgets
    search    strategies of ours and of nni on a space whose best is known
    vit       heads, neurons and layers of vit_cifar10

Validation chooses; the test part is asked once about each finished network. Speed is ONNX Runtime's
on one thread, in interleaved pairs. --quick runs everything on a handful of examples, to see that
it runs.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence

from bench.pruning_peers import peers_part
from bench.pruning_search import search_part
from bench.pruning_sparse import sparse_part
from bench.pruning_structured import Row, bert_part, resnet_part, vit_part
from bench.pruning_tuning import FULL, QUICK

PARTS = {
    "resnet": resnet_part,
    "bert": bert_part,
    "sparse": sparse_part,
    "peers": peers_part,
    "search": search_part,
    "vit": vit_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=[*PARTS])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; there are {', '.join(PARTS)}")
        rows = list(told(PARTS[part](QUICK if arguments.quick else FULL)))
        print(json.dumps(rows, indent=2) if arguments.json else table(part, rows), flush=True)


def told(rows: Iterable[Row]) -> Iterator[Row]:
    """A part takes minutes: each row is also said as soon as it is there."""
    for row in rows:
        print(json.dumps(row), file=sys.stderr, flush=True)
        yield row


def table(part: str, rows: Sequence[Row]) -> str:
    """In Markdown; what a row does not have stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"\n{part}\n", "| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row.get(name, "")) for name in names) + " |")
    return "\n".join(lines)


def _cell(value: float | str) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
