"""What benchmark_model prints, in every form that its versions have."""

from __future__ import annotations

import pytest

from edgekit.bench.benchmark_log import failure_text, read_delegation, read_log
from edgekit.bench.device import Delegation
from edgekit.errors import DeviceError

NEW = """INFO: STARTING!
INFO: Graph: [mobilenet_quant_v1_224.tflite]
INFO: The input model file size (MB): 4.2761
INFO: Initialized session in 87.639ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=106436 curr=105929 min=105929 max=106436 avg=106065 std=193 p5=105929 median=105948 p95=106436

INFO: count=50 first=106022 curr=105780 min=105416 max=106528 avg=105784 std=260 p5=105485 median=105718 p95=106281

INFO: Inference timings in us: Init: 87639, First inference: 106436, Warmup (avg): 106065, Inference (avg): 105784
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE.
INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164
"""
QUANTILES = ((0.0, 105416.0), (0.05, 105485.0), (0.5, 105718.0), (0.95, 106281.0), (1.0, 106528.0))


def test_today_s_form() -> None:
    log = read_log(NEW)
    assert (log.init_us, log.first_us, log.runs, log.mean_us) == (87639, 106436, 50, 105784)
    assert log.quantiles_us == QUANTILES
    assert (log.memory_bytes, log.delegation) == (14_816_400, None)
    block = log.block(1_800_000)
    assert (block.runs, block.total_ns, block.center_ns) == (50, 50 * 105784e3, 105718e3)
    assert (block.min_ns, block.has_median, block.clock_khz) == (105416e3, True, 1_800_000)


def test_the_app_s_form() -> None:
    lines = (f"05-31 10:31:13.036 21767 21767 I tflite  : {line.removeprefix('INFO: ')}" for line in NEW.splitlines())
    assert read_log("\n".join(lines)) == read_log(NEW)


def test_without_levels_and_quantiles() -> None:
    old = "\n".join(line.removeprefix("INFO: ").partition(" p5=")[0] for line in NEW.splitlines())
    log = read_log(old)
    assert log.quantiles_us == ((0.0, 105416.0), (1.0, 106528.0))
    block = log.block(None)
    assert (block.has_median, block.center_ns) == (False, 105784e3)


def test_the_oldest_form() -> None:
    old = """count=50 first=79449 curr=81350 min=77385 max=88213 avg=79760.9 std=1929
Timings (microseconds): count=50 first=1 curr=1 min=1 max=1 avg=1 std=0
Memory (bytes): count=0
Average inference timings in us: Warmup: 83235, Init: 38467, Inference: 79760.9
"""
    log = read_log(old)
    assert (log.init_us, log.first_us, log.runs, log.mean_us) == (38467, None, 50, 79760.9)


@pytest.mark.parametrize(
    ("line", "mean", "runs", "mean_us"),
    [
        ("count=1 curr=1041765", "1.04176e+06", 1, 1041765),
        ("count=5 curr=106(all same)", "106", 5, 106),
        ("count=5 curr=106 (all same)", "106", 5, 106),
        (
            "count=2 first=1041765 curr=1051765 min=1041765 max=1051765 avg=1.04676e+06 std=5000",
            "1.04676e+06",
            2,
            1046760,
        ),
    ],
)
def test_special_forms(line: str, mean: str, runs: int, mean_us: float) -> None:
    timings = f"Inference timings in us: Init: 1.5e+06, First inference: 9, Warmup (avg): -nan, Inference (avg): {mean}"
    log = read_log(f"INFO: {line}\nINFO: {timings}\n")
    assert (log.runs, log.mean_us, log.init_us) == (runs, mean_us, 1.5e6)


def test_peak_memory_where_it_was_asked_for() -> None:
    log = read_log(NEW + "INFO: Overall peak memory footprint (MB) via periodic monitoring: 21.5\n")
    assert log.memory_bytes == 21_500_000


NNAPI = (
    "VERBOSE: Replacing 31 out of 31 node(s) with delegate (TfLiteNnapiDelegate) node, yielding 1 partitions for the "
    "whole graph.\n"
)
COMPLETELY = (
    "INFO: Explicitly applied NNAPI delegate, and the model graph will be completely executed by the delegate.\n"
)
PARTIALLY = (
    "Explicitly applied NNAPI delegate, and the model graph will be partially executed by the delegate w/ 2 delegate "
    "kernels.\n"
)
NOT_AT_ALL = "Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
GPU = "INFO: Replacing 29 out of 31 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 2 partitions.\n"
HEXAGON = "INFO: Hexagon delegate: 31 nodes delegated out of 31 nodes with 1 partitions.\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (NNAPI, Delegation("NNAPI", 31, 31, 1, True)),
        (NNAPI + COMPLETELY, Delegation("NNAPI", 31, 31, 1, True)),
        (COMPLETELY, Delegation("NNAPI", None, None, 1, True)),
        (PARTIALLY, Delegation("NNAPI", None, None, 2, False)),
        (NOT_AT_ALL, Delegation("NNAPI", None, None, 0, False)),
        (GPU, Delegation("GPU", 29, 31, 2, False)),
        (HEXAGON, Delegation("Hexagon", 31, 31, 1, True)),
        ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", None),
    ],
)
def test_delegates(text: str, told: Delegation | None) -> None:
    assert read_delegation(text) == told
    assert read_log(text + NEW).delegation == told


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: "", "holds no timings (nothing at all)"),
        (lambda text: text[: text.index("INFO: count=50")], "holds no timings"),
        (lambda text: text.replace("count=", "counted="), "holds no timings"),
        (lambda text: text.replace("count=50", "count=0"), "contradict each other (count=0 "),
        (lambda text: text.replace("avg=105784", "avg=nan"), "contradict each other"),
        (lambda text: text.replace("avg=105784", "avg=1e999"), "contradict each other"),
        (lambda text: text.replace("median=105718", "median=99"), "contradict each other"),
        (lambda text: text.replace("Inference (avg): 105784", "Inference (avg): 52000"), "contradict each other"),
        (lambda text: text.replace("avg=105784", "avg=-105784"), "contradict each other"),
    ],
)
def test_malformed_logs(damage, words: str) -> None:
    with pytest.raises(DeviceError) as caught:
        read_log(damage(NEW))
    assert words in str(caught.value)
    assert str(caught.value).endswith("try another build of it")


def test_hostile_text_stays_in_one_plain_line() -> None:
    with pytest.raises(DeviceError) as caught:
        read_log("count=\x1b[2J\x07 \x00evil" + "x" * 5000)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version of this builtin might be "
            "supported. Are you using an old TFLite binary with a newer model?\nERROR: Registration failed.\n",
            "too old for net.tflite: it has no CONV_2D of version 6; take a newer",
        ),
        ("ERROR: Failed to apply XNNPACK delegate.\nERROR: Benchmarking failed.\n", "the XNNPACK delegate cannot be"),
        ("sh: ./benchmark_model: not executable: 64-bit ELF file\n", "not made for this device's processor"),
        ("write: No space left on device\n", "storage is full: make room"),
        ("ERROR: Benchmarking failed.\n", "failed on net.tflite with --delegate gpu: Benchmarking failed."),
        ("", "failed on net.tflite with --delegate gpu: no message"),
    ],
)
def test_failures(text: str, words: str) -> None:
    assert words in failure_text(text, "net.tflite", "gpu")
