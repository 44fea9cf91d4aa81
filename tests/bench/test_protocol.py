"""The measuring protocol on a clock that only moves when a run says so."""

from __future__ import annotations

import gc

import pytest
from fake_device import MS, FakeDevice, sequence, steady

from edgekit.bench.block import Block
from edgekit.bench.protocol import (
    FULL,
    QUICK,
    Measurement,
    Plan,
    block_runs,
    is_complete,
    make_plan,
    measure,
    run_protocol,
    warm_up,
)
from edgekit.bench.stats import ratio_to_reference
from edgekit.errors import DataError

PLAN = Plan(seconds=0.5, min_runs=64, max_seconds=1.5)


def measured(device: FakeDevice, sizes: list[int], plan: Plan = PLAN) -> Measurement:
    measurement = Measurement([[] for _ in sizes])
    measure(device, sizes, measurement, plan, device.clock)
    return measurement


def test_plans_are_the_published_protocol_s() -> None:
    assert (QUICK.seconds, QUICK.min_runs, FULL.seconds, FULL.min_runs) == (10, 128, 60, 1024)
    assert QUICK.warmup_seconds == FULL.warmup_seconds == 1.0


def test_plans_and_their_overrides() -> None:
    assert make_plan(quick=False) == FULL
    plan = make_plan(quick=True, seconds=2.0)
    assert (plan.seconds, plan.max_seconds, plan.min_runs) == (2.0, 6.0, 128)


@pytest.mark.parametrize(
    ("seconds", "min_runs", "words"),
    [
        (0, None, "0 s and 128 runs measure nothing"),
        (float("nan"), None, "nan s and 128 runs"),
        (None, 0, "and 0 runs measure nothing"),
    ],
)
def test_plans_of_nothing(seconds: float | None, min_runs: int | None, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_plan(quick=True, seconds=seconds, min_runs=min_runs)


def test_warm_up_takes_a_second_of_steady_runs() -> None:
    device = FakeDevice(steady(5))
    assert warm_up(device, 0, QUICK) == pytest.approx(0.005)
    assert device.now == 1000 * MS


@pytest.mark.parametrize(("run_ms", "runs"), [(90, 20), (250, 20), (900, 10)])
def test_warm_up_of_a_slow_model_takes_windows_of_ten(run_ms: float, runs: int) -> None:
    device = FakeDevice(steady(run_ms))
    assert warm_up(device, 0, QUICK) == pytest.approx(run_ms / 1000)
    assert len(device.log) == runs


def test_warm_up_waits_for_times_to_settle() -> None:
    falling = [30 - i * 0.2 for i in range(100)]  # down to 10.2 ms, then steady
    device = FakeDevice(sequence(*falling, 10))
    assert warm_up(device, 0, QUICK) == pytest.approx(0.010, rel=0.02)
    assert len(device.log) > 100


def test_warm_up_gives_up_on_a_model_that_never_settles() -> None:
    rising = [10 * 1.01**i for i in range(1000)]
    device = FakeDevice(sequence(*rising))
    warm_up(device, 0, QUICK)
    assert 3000 * MS <= device.now < 5000 * MS


def test_warm_up_ends_on_a_device_whose_times_are_nothing() -> None:
    class Liar(FakeDevice):
        def block(self, index: int, *, runs: int, seconds: float = 0.0, lead: int = 0) -> Block:
            self.log.append(index)
            return Block(10, 0.0, float(len(self.log) % 2))

    device = Liar()
    warm_up(device, 0, QUICK)
    assert len(device.log) == 30


def test_blocks_are_interleaved_there_and_back() -> None:
    device = FakeDevice(steady(1), steady(2), steady(1))
    measurement = measured(device, [2, 1, 3])
    one_round = [int(i) for i in "000 11 2222 2222 11 000".replace(" ", "")]  # one run before each block is not timed
    assert device.log[: 2 * len(one_round)] == one_round * 2
    assert len(device.log) % len(one_round) == 0
    assert len({len(own) for own in measurement.blocks}) == 1
    samples = [{block.samples_ns for block in own} for own in measurement.blocks]
    assert samples == [{(MS, MS)}, {(2 * MS,)}, {(MS, MS, MS)}]
    assert len(measurement.states) == 1 + len(measurement.blocks[0]) // 2


def test_a_single_file_has_no_untimed_runs() -> None:
    device = FakeDevice(steady(10))
    (blocks,) = measured(device, [4]).blocks
    assert len(device.log) == sum(block.runs for block in blocks)


@pytest.mark.parametrize(("run_ms", "runs"), [(1, 500), (20, 64)])
def test_measuring_lasts_until_time_and_runs_are_reached(run_ms: float, runs: int) -> None:
    (blocks,) = measured(FakeDevice(steady(run_ms)), [2]).blocks
    assert runs <= sum(block.runs for block in blocks) <= runs + 4
    assert is_complete(blocks, PLAN)


def test_measuring_a_very_slow_model_stops_early_and_says_so() -> None:
    (blocks,) = measured(FakeDevice(steady(100)), [4]).blocks
    assert sum(block.runs for block in blocks) == 16
    assert not is_complete(blocks, PLAN)


def test_at_least_one_round_is_measured() -> None:
    (blocks,) = measured(FakeDevice(steady(5000)), [1]).blocks
    assert [block.runs for block in blocks] == [1, 1]


def test_a_broken_off_round_leaves_pairs_only() -> None:
    block = Block.of([MS])
    measurement = Measurement([[block] * 3, [block] * 2])
    measurement.drop_unpaired()
    assert [len(own) for own in measurement.blocks] == [2, 2]


def test_garbage_collection_is_off_only_while_measuring() -> None:
    device = FakeDevice(steady(10))
    measured(device, [4])
    assert not any(device.collecting)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("seconds_per_run", "runs"),
    [(0.000_01, 5000), (0.001, 50), (0.01, 5), (0.05, 4), (1.0, 4), (0.0, 50_000_000)],
)
def test_block_size(seconds_per_run: float, runs: int) -> None:
    assert block_runs(seconds_per_run, QUICK, 0.05) == runs


def test_few_runs_still_make_sixteen_blocks() -> None:
    assert block_runs(0.1, Plan(seconds=1.0, min_runs=32, max_seconds=3.0), 0.05) == 2
    assert block_runs(1.0, Plan(seconds=1.0, min_runs=3, max_seconds=3.0), 0.05) == 1
    assert block_runs(0.001, QUICK, 4.0) == 625  # a device whose blocks are dear


def test_a_slower_model_is_called_slower() -> None:
    """2 ms against 3 ms, on a machine that slows down by a half meanwhile."""
    device = FakeDevice()

    def model(ms: float):
        return lambda: ms * (1 + device.now / (40_000 * MS))

    device.models = (model(2), model(3))
    measurement = Measurement([[], []])
    run_protocol(device, measurement, make_plan(quick=True, seconds=5.0, min_runs=128), device.clock)
    ratio = ratio_to_reference(measurement.blocks[1], measurement.blocks[0])
    assert ratio.verdict == "slower"
    assert ratio.value == pytest.approx(1.5, rel=0.01)
