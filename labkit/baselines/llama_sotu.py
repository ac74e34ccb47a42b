"""Train the language model in Llama's layout: `python -m labkit.baselines.llama_sotu`.

Three passes over the State of the Union addresses.
"""

from labkit.baselines.recipe import Recipe, run
from labkit.baselines.speeches import CONTEXT, study
from labkit.models import LlamaSpec
from labkit.training import TrainingConfig

RECIPE = Recipe(
    name="llama_sotu",
    dataset="state_of_the_union",
    spec=LlamaSpec(width=128, depth=4, heads=4, kv_heads=2, ffn=352, context=CONTEXT),
    training=(
        TrainingConfig(
            epochs=3,
            batch_size=32,
            optimizer="adamw",
            learning_rate=2e-3,
            warmup=0.1,
            weight_decay=0.1,
            clip_norm=1.0,
            bfloat16=True,
        ),
    ),
    study=study,
)

if __name__ == "__main__":
    run(RECIPE)
