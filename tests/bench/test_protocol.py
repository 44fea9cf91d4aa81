"""The measuring protocol on a clock that only moves when a run says so."""

from __future__ import annotations

import gc

import pytest

from edgekit.bench.protocol import FULL, QUICK, Plan, block_runs, is_complete, measure, warm_up

MS = 1_000_000
PLAN = Plan(seconds=0.5, min_runs=64, max_seconds=1.5)


class Machine:
    """A clock, and models whose runs take what they are told."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[str] = []
        self.collecting: list[bool] = []

    def clock(self) -> int:
        return self.now

    def model(self, name: str, *times_ms: float):
        """Runs take these milliseconds in turn, the last one for ever."""
        calls = iter(times_ms)
        last = [times_ms[-1]]

        def run() -> None:
            last[0] = next(calls, last[0])
            self.now += int(last[0] * MS)
            self.log.append(name)
            self.collecting.append(gc.isenabled())

        return run


def test_plans_are_the_published_protocol_s() -> None:
    assert (QUICK.seconds, QUICK.min_runs, FULL.seconds, FULL.min_runs) == (10, 128, 60, 1024)
    assert QUICK.warmup_seconds == FULL.warmup_seconds == 1.0


def test_warm_up_takes_a_second_of_steady_runs() -> None:
    machine = Machine()
    assert warm_up(machine.model("a", 5), QUICK, machine.clock) == pytest.approx(0.005)
    assert machine.now == 1000 * MS


@pytest.mark.parametrize(("run_ms", "runs"), [(90, 20), (250, 20), (900, 10)])
def test_warm_up_of_a_slow_model_takes_windows_of_ten(run_ms: float, runs: int) -> None:
    machine = Machine()
    assert warm_up(machine.model("a", run_ms), QUICK, machine.clock) == pytest.approx(run_ms / 1000)
    assert len(machine.log) == runs


def test_warm_up_waits_for_times_to_settle() -> None:
    machine = Machine()
    falling = [30 - i * 0.2 for i in range(100)]  # down to 10.2 ms, then steady
    assert warm_up(machine.model("a", *falling, 10), QUICK, machine.clock) == pytest.approx(0.010, rel=0.02)
    assert len(machine.log) > 100


def test_warm_up_gives_up_on_a_model_that_never_settles() -> None:
    machine = Machine()
    rising = [10 * 1.01**i for i in range(1000)]
    warm_up(machine.model("a", *rising), QUICK, machine.clock)
    assert 3000 * MS <= machine.now < 5000 * MS


def test_blocks_are_interleaved_there_and_back() -> None:
    machine = Machine()
    runs = [machine.model("a", 1), machine.model("b", 2), machine.model("c", 1)]
    blocks = measure(runs, [2, 1, 3], PLAN, machine.clock)
    one_round = "aaa bb cccc cccc bb aaa".replace(" ", "")  # one run before each block is not timed
    assert "".join(machine.log).startswith(one_round * 2)
    assert len(machine.log) % len(one_round) == 0
    assert len({len(b) for b in blocks}) == 1
    assert [set(map(tuple, b)) for b in blocks] == [{(MS, MS)}, {(2 * MS,)}, {(MS, MS, MS)}]


def test_a_single_file_has_no_untimed_runs() -> None:
    machine = Machine()
    (blocks,) = measure([machine.model("a", 10)], [4], PLAN, machine.clock)
    assert len(machine.log) == sum(len(block) for block in blocks)


@pytest.mark.parametrize(("run_ms", "runs"), [(1, 500), (20, 64)])
def test_measuring_lasts_until_time_and_runs_are_reached(run_ms: float, runs: int) -> None:
    machine = Machine()
    (blocks,) = measure([machine.model("a", run_ms)], [2], PLAN, machine.clock)
    total = sum(len(block) for block in blocks)
    assert runs <= total <= runs + 4
    assert is_complete(blocks, PLAN)


def test_measuring_a_very_slow_model_stops_early_and_says_so() -> None:
    machine = Machine()
    (blocks,) = measure([machine.model("a", 100)], [4], PLAN, machine.clock)
    assert sum(len(block) for block in blocks) == 16
    assert not is_complete(blocks, PLAN)


def test_at_least_one_round_is_measured() -> None:
    machine = Machine()
    (blocks,) = measure([machine.model("a", 5000)], [1], PLAN, machine.clock)
    assert [len(block) for block in blocks] == [1, 1]


def test_garbage_collection_is_off_only_while_measuring() -> None:
    machine = Machine()
    measure([machine.model("a", 10)], [4], PLAN, machine.clock)
    assert not any(machine.collecting)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("seconds_per_run", "runs"),
    [(0.000_01, 5000), (0.001, 50), (0.01, 5), (0.05, 4), (1.0, 4), (0.0, 50_000_000)],
)
def test_block_size(seconds_per_run: float, runs: int) -> None:
    assert block_runs(seconds_per_run, QUICK) == runs


def test_few_runs_still_make_sixteen_blocks() -> None:
    assert block_runs(0.1, Plan(seconds=1.0, min_runs=32, max_seconds=3.0)) == 2
    assert block_runs(1.0, Plan(seconds=1.0, min_runs=3, max_seconds=3.0)) == 1
