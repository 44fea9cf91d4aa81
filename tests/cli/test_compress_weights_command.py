from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import TINY, refused, run, write_photos

from edgekit.compress import budget
from edgekit.pipeline.container_file import content_graph, open_container

SMALL = ("lenet5", "--weights", "none")


@pytest.mark.slow
def test_weights_within_a_number_of_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "MOST_TRIALS", 3)  # enough to keep the limit; how near it comes is tested elsewhere
    out, photos = tmp_path / "m.ekz", write_photos(tmp_path / "photos", 12)
    plain = run("compress", *SMALL, "--out", tmp_path / "plain.ekz", "--json")
    assert plain.code == 0, plain.err
    target = json.loads(plain.out)["ekz_bytes"] // 4
    done = run("compress", *SMALL, "--target-bytes", target, "--calibration", photos, "--out", out, "--json")
    assert done.code == 0, done.err
    assert out.stat().st_size == json.loads(done.out)["ekz_bytes"] <= target
    graph = content_graph(open_container(out))
    (step,) = [step for step in graph.metadata["steps"] if step["step"] == "compress"]
    assert step["target_bytes"] == target
    assert step["calibration"]["used"] == 12
    assert str(tmp_path) not in json.dumps(graph.metadata)
    kernels = [t.array for t in graph.constants() if t.name.endswith("kernel")]
    assert all(len(np.unique(kernel)) < kernel.size / 2 for kernel in kernels if kernel.size > 1000)


def test_what_cannot_be_compressed_so_is_refused(tmp_path):
    (tmp_path / "file.tflite").write_bytes(b"anything")
    photos = write_photos(tmp_path / "photos", 2)
    limit = ("--target-bytes", 1000)
    refused(run("compress", *TINY, *limit), "give --calibration FOLDER")
    refused(run("compress", tmp_path / "file.tflite", *limit, "--calibration", photos), "give --graph too")
    refused(
        run("compress", *TINY, *limit, "--max-drop", 1, "--calibration", photos), "either a number of bytes or a drop"
    )
    refused(run("compress", *TINY, "--max-drop", 1, "--calibration", photos), "give at least 5, not 2")
    refused(run("compress", *TINY, "--max-drop", 1, "--calibration", tmp_path / "none"), "does not exist")
