"""Claims about choosing widths. 1e-9 is float64's over sums of a few losses."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.quantization.mixed.allocation import greedy, lagrangian, random_search, uniform
from reference.quantization.mixed.exact import dynamic_programming, integer_program
from reference.quantization.mixed.options import Table
from reference.quantization.mixed.pareto import front, non_dominated

BITS = (2, 4, 8)


def drawn(seed: int):
    return torch.Generator().manual_seed(seed)


def random_table(seed: int, layers: int = 5) -> Table:
    """Losses that fall with bits and whole costs that rise, as rounding has them."""
    generator = drawn(seed)
    loss = torch.rand(layers, 3, generator=generator, dtype=torch.float64).sort(1).values.flip(1)
    cost = torch.randint(1, 40, (layers, 3), generator=generator).sort(1).values.double()
    return Table(tuple(f"layer{row}" for row in range(layers)), BITS, loss, cost)


def some_budget(table: Table, share: float) -> float:
    least, most = table.least_cost(), table.cost.amax(1).sum().item()
    return float(round(least + share * (most - least)))


def every_allocation(table: Table):
    return [
        table.allocation(columns)
        for columns in itertools.product(range(len(table.bits)), repeat=len(table.names))
    ]


seeds, shares = st.integers(0, 10_000), st.floats(0, 1)
METHODS = {
    "greedy": greedy,
    "lagrangian": lagrangian,
    "dynamic programming": dynamic_programming,
    "integer program": integer_program,
    "random": lambda table, budget: random_search(table, budget, drawn(0), 200),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@given(seeds, shares)
@settings(deadline=None)
def test_programming_the_solver_and_brute_force_agree(seed, share):
    table = random_table(seed)
    budget = some_budget(table, share)
    best = min(each.loss for each in every_allocation(table) if each.cost <= budget)
    assert dynamic_programming(table, budget).loss == pytest.approx(best, abs=1e-9)
    assert integer_program(table, budget).loss == pytest.approx(
        best, abs=1e-6
    )  # HiGHS's feasibility


@every_method
@given(seeds, shares)
@settings(deadline=None, max_examples=30)
def test_budget_is_kept_and_nothing_beats_the_optimum(method, seed, share):
    table = random_table(seed)
    budget = some_budget(table, share)
    found = method(table, budget)
    assert found.cost <= budget
    assert found.loss >= dynamic_programming(table, budget).loss - 1e-6
    columns = [table.bits.index(found.bits[name]) for name in table.names]
    assert found == table.allocation(columns)


@given(seeds, shares, shares)
def test_more_room_never_costs_loss(seed, one, other):
    table = random_table(seed)
    small, large = sorted((some_budget(table, one), some_budget(table, other)))
    assert dynamic_programming(table, large).loss <= dynamic_programming(table, small).loss


@given(seeds)
def test_the_lagrangian_lies_on_the_lower_hull(seed):
    """For its lambda no allocation has less loss + lambda cost: so none lies below every chord."""
    table = random_table(seed, layers=4)
    found = lagrangian(table, some_budget(table, 0.5))
    others = every_allocation(table)
    cheaper = [each for each in others if each.cost < found.cost]
    dearer = [each for each in others if each.cost > found.cost]
    for a in cheaper:
        for b in dearer:
            share = (found.cost - a.cost) / (b.cost - a.cost)
            assert found.loss <= a.loss + share * (b.loss - a.loss) + 1e-9


def test_greedy_can_be_worse_than_the_optimum():
    """The cheap step looks best per byte, does not save enough, and a second one is needed."""
    cost = torch.tensor([[4.0, 10.0], [8.0, 20.0]], dtype=torch.float64)
    loss = torch.tensor([[1.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    table = Table(("a", "b"), (4, 8), loss, cost)
    assert dynamic_programming(table, 18.0).loss == 4.0
    assert greedy(table, 18.0).loss == 5.0


@every_method
def test_names_and_order_of_layers_do_not_matter(method):
    table = random_table(3)
    order = [3, 0, 4, 1, 2]
    shuffled = Table(
        tuple(f"other{row}" for row in order), BITS, table.loss[order], table.cost[order]
    )
    budget = some_budget(table, 0.4)
    if method is not METHODS["random"]:
        assert method(shuffled, budget).loss == pytest.approx(method(table, budget).loss)


@every_method
def test_a_fixed_layer_keeps_its_width(method):
    table = random_table(1).fixed("layer0", 8).fixed("layer4", 8)
    found = method(table, some_budget(table, 0.3))
    assert (found.bits["layer0"], found.bits["layer4"]) == (8, 8)


@every_method
def test_a_budget_below_the_cheapest_widths_is_refused(method):
    table = random_table(0)
    with pytest.raises(ValueError, match=rf"cheapest widths cost {table.least_cost():g}"):
        method(table, table.least_cost() - 1)
    assert method(table, table.least_cost()).cost == table.least_cost()
    with pytest.raises(ValueError, match="a budget of nan"):
        method(table, float("nan"))


def test_seconds_that_add_up_to_the_budget_fit_in_any_order():
    cost = torch.tensor([[0.1], [0.2], [0.3], [1e-9]], dtype=torch.float64)
    table = Table(("a", "b", "c", "d"), (8,), torch.zeros(4, 1).double(), cost)
    assert dynamic_programming(table, 1e-9 + 0.3 + 0.2 + 0.1).cost == pytest.approx(0.600000001)


def test_uniform_is_one_width_for_all_that_are_free():
    table = random_table(2).fixed("layer0", 8)
    found = uniform(table, table.cost.amax(1).sum().item())
    assert set(found.bits.values()) == {8}
    least = uniform(table, table.least_cost())
    assert least.bits == {"layer0": 8, **dict.fromkeys(table.names[1:], 2)}


def test_widths_follow_reverse_water_filling_where_the_budget_allows_it():
    """b_l = mean + log2(variance_l / geometric mean) / 2, whole for powers of 4."""
    bits = tuple(range(1, 12))
    variance = torch.tensor([4.0**3, 4.0, 1.0, 4.0**-4], dtype=torch.float64)
    widths = torch.tensor(bits, dtype=torch.float64)
    loss = variance.unsqueeze(1) * 4.0 ** (-widths)
    table = Table(("a", "b", "c", "d"), bits, loss, widths.expand(4, -1).clone())
    found = dynamic_programming(table, 24.0)
    expected = 6 + 0.5 * torch.log2(variance / variance.log().mean().exp())
    assert list(found.bits.values()) == expected.tolist()


@given(seeds)
def test_no_point_of_the_front_is_dominated(seed):
    table = random_table(seed, layers=4)
    points = front(table, [some_budget(table, share / 10) for share in range(11)])
    for one, other in itertools.permutations(points, 2):
        assert not (one.cost <= other.cost and one.loss <= other.loss)
    everything = every_allocation(table)
    assert all(
        not (each.cost <= point.cost and each.loss < point.loss - 1e-12)
        for point in points
        for each in everything
    )


def test_of_equal_points_one_is_kept():
    table = random_table(0)
    point = table.allocation([0] * 5)
    assert non_dominated([point, point]) == [point]
    with pytest.raises(ValueError, match="at least one budget"):
        front(table, [])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"names": ()}, "0 layers"),
        ({"loss": torch.full((5, 3), torch.nan).double()}, "a loss is nan"),
        ({"loss": torch.full((5, 3), torch.inf).double()}, "no width with a finite loss"),
        ({"cost": torch.full((5, 3), -1.0).double()}, "not negative"),
    ],
)
def test_tables_without_meaning_are_refused(values, told):
    with pytest.raises(ValueError, match=told):
        replace(random_table(0), **values)


def test_unknown_layers_and_draws_are_refused():
    with pytest.raises(ValueError, match="no layer 'head' in 8 bits"):
        random_table(0).fixed("head", 8)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        random_search(random_table(0), 1000.0, drawn(0), 0)
