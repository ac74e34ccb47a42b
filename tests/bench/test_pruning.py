"""What bench.pruning does to networks by itself, without training anything."""

import json

import pytest
import torch
from safetensors.torch import save_file

from bench.pruning_peers import HERE, METHODS, OURS, PEERS, SCRIPTS, Pruned, read, write
from bench.pruning_search import PRICE, landscape
from bench.pruning_sparse import SPARSITY, Rising, schedule_for, stored
from bench.pruning_tuning import ADAMW, QUICK, SHARE, TEMPERATURE, Subject, Taught, batches
from labkit import baselines
from labkit.baselines.recipe import Study
from labkit.data import Batch
from labkit.models import ResNet, ResNetSpec
from labkit.tasks import ImageClassification
from reference.pruning.schedules import Schedule
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.remove import remove

LIBRARIES = sorted({each for _, libraries in METHODS.values() for each in libraries})


@pytest.fixture(scope="module")
def resnet():
    """The baseline on random images: no data set is fetched."""
    dense = baselines.load("resnet_cifar10")
    numbers = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 32, 32, generator=numbers)
    part = Batch(images, torch.randint(10, (64,), generator=numbers))
    task = ImageClassification(part, part)
    nothing = Study(task, lambda model: None, lambda model: None, {})
    return Subject("resnet_cifar10", dense, nothing, Taught(task, dense), QUICK)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_of_the_table_can_be_asked(library):
    script = PEERS / SCRIPTS[library]
    assert script.is_file()
    assert library in HERE or (script.parent / "requirements.txt").is_file()


def test_every_method_is_asked_of_ours_first():
    assert all(libraries[0] == OURS for _, libraries in METHODS.values())


def test_a_task_holds_what_its_reader_needs(resnet, tmp_path):
    write(resnet, "Taylor", 0.5, tmp_path)
    assert json.loads((tmp_path / "task.json").read_text()) == {"method": "Taylor", "share": 0.5}
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"task.json", "spec.json", "weights.safetensors", "seen.safetensors"}


def test_a_smaller_network_is_read_back_from_its_state_alone(resnet, tmp_path):
    smaller = _halved(resnet.dense)
    save_file(smaller.state_dict(), tmp_path / "network.safetensors")
    found = read(resnet, tmp_path)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(found.model(x), smaller(x), rtol=0, atol=0)
    assert not found.masks
    assert found.model.blocks[0].first.conv.out_channels == 16


def test_masks_of_whole_rows_remove_channels(resnet, tmp_path):
    graph = dependency_graph(resnet.dense, torch.zeros(1, 3, 32, 32))
    units = {name: torch.arange(group.size) % 2 == 0 for name, group in graph.groups.items()}
    masks = {}
    for name, group in graph.groups.items():
        for maker in group.makers:
            weight = resnet.dense.get_parameter(maker.tensor)
            kept = masks.setdefault(maker.tensor, torch.ones_like(weight))
            kept[maker.indices[:, 0][~units[name]]] = 0
    save_file(masks, tmp_path / "masks.safetensors")
    found, wanted = read(resnet, tmp_path), remove(resnet.dense, graph, units)
    assert not found.masks
    assert found.digest == Pruned(wanted, {}).digest


def test_masks_of_single_weights_stay_masks(resnet, tmp_path):
    name = "blocks.0.first.conv.weight"
    mask = torch.ones_like(resnet.dense.get_parameter(name))
    mask[0, 0] = 0
    save_file({name: mask}, tmp_path / "masks.safetensors")
    found = read(resnet, tmp_path)
    assert found.masks.keys() == {name}
    assert not found.model.get_parameter(name)[0, 0].any()
    assert resnet.dense.get_parameter(name)[0, 0].any()


def test_equal_networks_have_equal_digests_and_others_do_not(resnet):
    other = resnet.fresh()
    with torch.no_grad():
        other.head.bias[0] += 1
    assert Pruned(resnet.dense, {}).digest == Pruned(resnet.fresh(), {}).digest
    assert Pruned(resnet.dense, {}).digest != Pruned(other, {}).digest


def test_the_dense_model_teaches_itself_nothing_but_the_labels(resnet):
    """The divergence from itself is 0, so that cross-entropy's share is left."""
    chosen, numbers = torch.arange(16), torch.Generator()
    taught = resnet.task.loss(resnet.dense, chosen, numbers)
    plain = resnet.task.task.loss(resnet.dense, chosen, numbers)
    torch.testing.assert_close(taught, (1 - SHARE) * plain, rtol=1e-4, atol=1e-5)


def test_soft_labels_are_scaled_by_the_squared_temperature(resnet):
    network = ResNet(ResNetSpec()).eval()
    part = resnet.task.task.train
    answers = (network(part.images) / TEMPERATURE).log_softmax(1)
    told = (resnet.dense(part.images) / TEMPERATURE).softmax(1)
    soft = (told * (told.log() - answers)).sum(1).mean()
    hard = resnet.task.task.loss(network, torch.arange(64), torch.Generator())
    wanted = SHARE * TEMPERATURE**2 * soft + (1 - SHARE) * hard
    found = resnet.task.loss(network, torch.arange(64), torch.Generator())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_epoch_counts_only_once_the_sparsity_is_reached(resnet):
    rising = Rising(resnet.task, Schedule(SPARSITY, rounds=4, every=1))
    early = []
    for steps in range(4):
        rising.steps = steps
        early.append(rising.score(resnet.dense))
    rising.steps = 4
    assert early == sorted(early) and max(early) < 0 <= rising.score(resnet.dense)


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_sparsity_is_reached_before_the_last_step(resnet, epochs):
    of = Subject("bert_movie_reviews", resnet.dense, resnet.study, resnet.task, QUICK)
    steps = -(-64 // ADAMW.batch_size) * epochs
    assert schedule_for(of, epochs).end <= steps


def test_calibration_examples_come_with_their_labels(resnet):
    train = resnet.task.task.train
    labels = {image.numpy().tobytes(): int(label) for image, label in zip(*train, strict=True)}
    for each in batches(resnet, 2, 8):
        assert each["labels"].tolist() == [labels[i.numpy().tobytes()] for i in each["images"]]


def test_bytes_of_a_dense_model_are_not_saved_by_a_bitmap(resnet):
    """At density 1 a bitmap costs a bit more for each of 32: 32 / 33, and CSR 32 / 48."""
    found = stored(resnet.dense)
    assert found["bitmap of linear /"] == pytest.approx(32 / 33, rel=0.01)
    assert found["CSR of linear /"] == pytest.approx(32 / 48, rel=0.02)


def _halved(model):
    graph = dependency_graph(model, torch.zeros(1, 3, 32, 32))
    units = {name: torch.arange(group.size) % 2 == 0 for name, group in graph.groups.items()}
    return remove(model, graph, units)


def test_the_landscape_of_the_searches_has_a_best_within_the_budget(resnet):
    found = landscape(resnet)
    priced = found.priced()
    assert found.space.size == len(found.scores) == 4096
    assert found.told(found.space.smallest) == found.scores[found.space.smallest]
    assert found.told(found.space.largest) < found.scores[found.space.largest] == 0
    assert priced.space.fits(priced.space.largest)
    assert priced.scores[priced.space.largest] == pytest.approx(-PRICE, rel=1e-9)
    assert priced.scores[priced.space.smallest] < priced.best > -PRICE
