"""Every number that an instructor may want to change, and where each one came from.

A threshold stands between two measurements: `full` is a little worse than what the reference
solution reaches, `none` is what the unmodified model or the naive method reaches already.
"""

from autograder.lab import Artefact, Extension, Lab, LatePolicy, Limits, Requirement, Threshold

# What handing in late costs, where a lab has a deadline (`due`) and a submission has a receipt.
LATE = LatePolicy(grace_minutes=60, lost_per_day=0.1, most_lost=0.5)

# Later deadlines, such as Extension("ada", "3.1", "2027-03-08T23:59+01:00", "illness"). They name
# students: `make wheel` leaves them out.
EXTENSIONS: tuple[Extension, ...] = ()

LAB_3_1 = Lab(
    number="3.1",
    slug="Post_Training_Quantization",
    title="Post-training quantization",
    notebooks=(
        "01-Setup_and_Basic_Quantization",
        "02-Static_Quantization",
        "03-Dynamic_Quantization",
        "04-Advanced_PTQ_Techniques",
    ),
    datasets=("cifar10", "fashion_mnist"),
    artefact=Artefact(file="model.onnx", baseline="resnet_cifar10", dataset="cifar10"),
    late=LATE,
    extensions=EXTENSIONS,
    thresholds=(
        Threshold(
            "compression_ratio", full=3.7, none=2.0, unit="x", points=15,
            needs=("accuracy_kept",),
            target="4x; scales, zero points, biases and graph take the rest, so full is below it",
            basis="reference 3.86x (4x less the scales, biases and graph), FP16 storage 2.00x; "
            "course calibrate 3.1, docs/calibration/lab-3.1.json",
        ),
        Threshold(
            "accuracy_kept", full=98.0, none=90.0, unit="% of the baseline", points=15,
            needs=("compression_ratio",),
            target="more than 98 %",
            basis="reference 100.0 % (interval 99.9 to 100.2 on 10,000 images), calibrated on "
            "blank images 34 %; full is the course's target, none five times its loss; "
            "docs/calibration/lab-3.1.json",
        ),
        Threshold(
            "speedup", full=2.0, none=1.0, unit="x", points=10,
            needs=("compression_ratio", "accuracy_kept"),
            requires=Requirement(isa=("avx512_vnni",)),
            target="2x to 4x",
            basis="reference 2.6x, unmodified FP32 and FP16 storage 1.0x, on one thread of a CPU "
            "with avx512_vnni; docs/calibration/lab-3.1.json",
        ),
    ),
)  # fmt: skip

LAB_3_5 = Lab(
    number="3.5",
    slug="Magnitude_Pruning",
    title="Magnitude pruning",
    notebooks=(
        "01-Importance_and_Thresholds",
        "02-Global_vs_Local",
        "03-Iterative_Pruning_and_Lottery_Ticket",
        "04-Sparse_Storage_and_Fine_Tuning",
    ),
    datasets=("state_of_the_union", "fashion_mnist", "movie_reviews"),
    models=("minilm",),
    artefact=Artefact(
        file="model.safetensors",
        baseline="bert_movie_reviews",
        dataset="movie_reviews",
        tokenizer="minilm",
        tokens=48,
    ),
    # The last notebook trains for a minute or two on the one core that it has when graded.
    limits=Limits(cell_s=300, wall_clock_s=600),
    late=LATE,
    extensions=EXTENSIONS,
    thresholds=(
        Threshold(
            "compression_ratio", full=4.5, none=2.0, unit="x", points=20,
            needs=("accuracy_kept",),
            basis="not measured yet",
        ),
        Threshold(
            "accuracy_kept", full=95.0, none=88.0, unit="% of the baseline", points=20,
            needs=("compression_ratio",),
            target="more than 95 %",
            basis="not measured yet",
        ),
    ),
)  # fmt: skip

# Lab 3.5 stands in source/ and is listed once `course calibrate 3.5` has measured its thresholds.
LABS = (LAB_3_1,)
