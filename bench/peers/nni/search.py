"""nni 3.0's searches of a table: its TPE tuner, its NAS Random strategy, a local Experiment.

`python search.py TABLE` reads choices and what each network is told, and prints which networks each
run looked at. An Experiment runs its trials as processes under nni's manager, which listens on a
port of this machine meanwhile.
"""

import json
import sys
import time
from pathlib import Path

import nni

Run = list[str]  # networks by their values, as the table names them


def key(values: dict) -> str:
    return ",".join(str(values[name]) for name in TABLE["choices"])


def tuner(seed: int) -> Run:
    from nni.algorithms.hpo.tpe_tuner import TpeTuner

    found = TpeTuner("maximize", seed=seed)
    found.update_search_space(space())
    run = []
    for number in range(TABLE["evaluations"]):
        values = found.generate_parameters(number)
        run.append(key(values))
        found.receive_trial_result(number, values, TABLE["told"][run[-1]])
    return run


def nas(seed: int) -> Run:
    from nni.mutable import ensure_frozen
    from nni.nas.evaluator import FunctionalEvaluator
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.nn.pytorch import ModelSpace
    from nni.nas.space import RawFormatModelSpace, model_context
    from nni.nas.strategy import Random

    class Widths(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            self.values = {}
            for name, values in TABLE["choices"].items():
                choice = nni.choice(name.replace(".", "_"), values)
                self.add_mutable(choice)
                self.values[name] = ensure_frozen(choice)

        def freeze(self, sample: dict) -> "Widths":
            with model_context(sample):
                return Widths()

    run = []

    def evaluate(network: Widths) -> None:
        run.append(key(network.values))
        nni.report_final_result(TABLE["told"][run[-1]])

    networks = RawFormatModelSpace.from_model(Widths(), FunctionalEvaluator(evaluate))
    Random(seed=seed)(networks, SequentialExecutionEngine(max_model_count=TABLE["evaluations"]))
    return run


def experiment(seed: int) -> Run:
    from nni.experiment import Experiment

    found = Experiment("local")
    found.config.trial_command = f"{sys.executable} {Path(__file__)} {PATH} trial"
    found.config.trial_code_directory = PATH.parent
    found.config.experiment_working_directory = PATH.parent / "experiment"
    found.config.search_space = space()
    found.config.tuner.name = "TPE"
    found.config.tuner.class_args = {"optimize_mode": "maximize", "seed": seed}
    found.config.max_trial_number = TABLE["evaluations"]
    found.config.trial_concurrency = 2
    found.run(port=8765, wait_completion=True)
    trials = found.export_data()
    found.stop()
    return [key(each.parameter) for each in trials]


def trial() -> None:
    nni.report_final_result(TABLE["told"][key(nni.get_next_parameter())])


def space() -> dict:
    return {n: {"_type": "choice", "_value": values} for n, values in TABLE["choices"].items()}


PATH = Path(sys.argv[1])
TABLE = json.loads(PATH.read_text("utf-8"))
STRATEGIES = {"TPE tuner": tuner, "NAS Random": nas, "local Experiment": experiment}

if __name__ == "__main__" and sys.argv[2:] == ["trial"]:
    trial()
elif __name__ == "__main__":
    search = STRATEGIES[TABLE["strategy"]]
    start = time.perf_counter()
    runs = [search(seed) for seed in range(TABLE["seeds"])]
    print("\n" + json.dumps({"runs": runs, "seconds": time.perf_counter() - start}))
