"""Part of bench.pruning: searches of a space so small that the best is known.

The six inner widths of resnet_cifar10, four values each: 4,096 networks. A network's score is the
sum over blocks of log(share of Taylor importance that its width keeps), which the dense network
gives in seconds; it stands for an accuracy, and is none. Each strategy may look at so many
networks; printed is how far its best is from the best of all, over seeds.

    price     score - PRICE MACs / dense MACs, every network allowed: all are told the same
    budget    at most half of the dense MACs. Ours stay within it by themselves. nni knows none: it
              is told a score that falls with what a network is over, which never counts as found
"""

import itertools
import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter

import torch

from bench.peers.environments import python_of
from bench.pruning_peers import PEERS
from bench.pruning_structured import CALIBRATION, Row
from bench.pruning_tuning import Budget, Subject, batches, loss_of, subject
from labkit import footprint
from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.evolution import EvolutionConfig, evolution
from reference.pruning.search.random_search import random_search
from reference.pruning.search.space import Candidate, Choice, Constraint, Space
from reference.pruning.search.tpe import tpe
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.importance_taylor import gate_scores

SHARES = (4, 2, 4 / 3, 1)  # a width is the dense one over this
EVALUATIONS, SEEDS, TRIALS = 60, 10, 12
PRICE = 2.0
OVER = 10.0  # what a whole budget too much costs where the budget is not known
Strategy = Callable[[Evaluator, torch.Generator], Evaluation]
OURS: dict[str, Strategy] = {
    "random": random_search,
    "TPE": tpe,
    "evolution": lambda evaluator, numbers: evolution(evaluator, numbers, EvolutionConfig(16, 4)),
}
THEIRS = ("TPE tuner", "NAS Random", "local Experiment")


@dataclass(frozen=True)
class Landscape:
    space: Space
    scores: dict[Candidate, float]

    @property
    def best(self) -> float:
        return max(self.scores[each] for each in self.space.fitting())

    def priced(self) -> "Landscape":
        """Without the budget: what it limits is paid for instead."""
        half = self.space.load  # of a budget that is half of the dense network's
        scores = {each: score - PRICE * half(each) / 2 for each, score in self.scores.items()}
        return Landscape(Space(self.space.choices), scores)

    def told(self, candidate: Candidate) -> float:
        return self.scores[candidate] - OVER * max(0.0, self.space.load(candidate) - 1)


def search_part(budget: Budget) -> Iterator[Row]:
    limited = landscape(subject("resnet_cifar10", budget))
    for kind, found in (("price", limited.priced()), ("budget", limited)):
        for name, strategy in OURS.items():
            start = perf_counter()
            gaps = [found.best - _ours(found, strategy, seed) for seed in range(SEEDS)]
            seconds = perf_counter() - start
            yield {"limit": kind, **_row(f"ours, {name}", gaps, EVALUATIONS, seconds)}
        for name in THEIRS:
            yield {"limit": kind, **_theirs(found, name)}


def landscape(of: Subject) -> Landscape:
    seen = batches(of, *CALIBRATION)
    graph = dependency_graph(of.dense, seen[0]["images"][:2])
    scores = gate_scores(of.dense, graph, seen, loss_of)
    counted = footprint.operations(of.dense, seen[0]["images"][:1]).by_module
    kept, macs = {}, {}
    for name in (each for each in scores if ".first." in each):
        block, worth = name.partition(".first.")[0], scores[name].sort(descending=True).values
        widths = tuple(round(len(worth) / share) for share in SHARES)
        kept[block] = {w: math.log((worth[:w].sum() / worth.sum()).item()) for w in widths}
        macs[block] = sum(counted[f"{block}.{half}.conv"] for half in ("first", "second"))
    fixed = sum(counted.values()) - sum(macs.values())

    def cost(candidate: Candidate) -> float:
        return fixed + sum(macs[b] * int(w) / max(kept[b]) for b, w in candidate.items())

    choices = tuple(Choice(block, tuple(values)) for block, values in kept.items())
    space = Space(choices, (Constraint("MACs", cost, sum(counted.values()) / 2),))
    every = map(space.at, itertools.product(range(len(SHARES)), repeat=len(choices)))
    return Landscape(space, {c: sum(kept[b][int(w)] for b, w in c.items()) for c in every})


def _ours(found: Landscape, strategy: Strategy, seed: int) -> float:
    evaluator = Evaluator(found.space, found.scores.__getitem__, EVALUATIONS)
    return strategy(evaluator, torch.Generator().manual_seed(seed)).search_score


def _theirs(found: Landscape, strategy: str) -> Row:
    table = {
        "strategy": strategy,
        "evaluations": TRIALS if strategy == "local Experiment" else EVALUATIONS,
        "seeds": 1 if strategy == "local Experiment" else SEEDS,
        "choices": {each.name: each.values for each in found.space.choices},
        "told": {_key(each): found.told(each) for each in found.scores},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        path.write_text(json.dumps(table), encoding="utf-8")
        command = [str(python_of("nni")), str(PEERS / "nni" / "search.py"), str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    name = f"nni, {strategy}"
    if done.returncode:
        return {"strategy": name, "evaluations": f"failed: {done.stderr.strip()[-80:]}"}
    said = json.loads(done.stdout.splitlines()[-1])
    fitting = {_key(each): found.scores[each] for each in found.space.fitting()}
    runs = [[fitting[key] for key in run if key in fitting] for run in said["runs"]]
    gaps = [found.best - max(run) for run in runs if run]
    return _row(name, gaps, table["evaluations"], said["seconds"])


def _key(candidate: Candidate) -> str:
    return ",".join(str(value) for value in candidate.values())


def _row(name: str, gaps: list[float], evaluations: int, seconds: float) -> Row:
    return {
        "strategy": name,
        "evaluations": evaluations,
        "runs": len(gaps),
        "mean gap": f"{mean(gaps):.4f}" if gaps else "none fitted",
        "largest gap": f"{max(gaps):.4f}" if gaps else "",
        "seconds": seconds,
    }
