"""Published weights: which file, from where, what happens where it cannot be had."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from weight_files import keras_layers, randomised, same_weights, torch_archive, torchvision_tensors, write_legacy
from weight_server import serve

from edgekit.data.preprocess import PRESETS
from edgekit.errors import WeightsError
from edgekit.importers import download, published, weight_cache
from edgekit.importers.download import download_weights, forget_unreachable
from edgekit.importers.published import PUBLISHED_WEIGHTS, choose_weights
from edgekit.importers.published_baselines import EFFICIENTNET_HOST, KERAS_FAMILIES
from edgekit.importers.published_keras import HOST as KERAS_HOST
from edgekit.importers.published_keras import RESNET_HASHES, V3_HASHES, VGG_HASHES
from edgekit.importers.published_row import FileHash
from edgekit.importers.weight_cache import cache_folder, download_url
from edgekit.importers.weights import load_weights
from edgekit.zoo import build_model, model_spec

KERAS = {"padding": "same"}
V1_FILE, V1_NO_TOP = "mobilenet_2_5_128_tf.h5", "mobilenet_2_5_128_tf_no_top.h5"


def network(seed=0, **options):
    return build_model("mobilenet_v1", **{"alpha": 0.25, "resolution": 128, "seed": seed, **options})


@pytest.fixture(scope="session")
def published_bytes(tmp_path_factory):
    """What a publisher would serve: random weights of another seed, with and without classifier."""
    folder = tmp_path_factory.mktemp("published")
    layers = keras_layers(randomised(network(seed=9), 9))
    full, headless = write_legacy(folder / V1_FILE, layers), write_legacy(folder / V1_NO_TOP, layers[:-1])
    return {V1_FILE: full.read_bytes(), V1_NO_TOP: headless.read_bytes()}


@pytest.fixture
def server(tmp_path, monkeypatch, published_bytes):
    forget_unreachable()
    with serve() as running:
        running.files = published_bytes
        monkeypatch.setenv("EDGEKIT_WEIGHTS_URL", running.url)
        monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(download, "STALL_PATIENCE_S", 1.0)
        yield running
    forget_unreachable()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(download, "ANSWER_PATIENCE_S", 0.3)


def load(spec, graph=None, **keywords):
    """The graph after `load_weights` and the notes that it reported."""
    notes = []
    return load_weights(graph or network(), spec, report=notes.append, **keywords), notes


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_lists_every_file_once():
    assert sum(row.model == "mobilenet_v1" for row in PUBLISHED_WEIGHTS) == 2 * 16
    assert sum(row.model == "mobilenet_v2" for row in PUBLISHED_WEIGHTS) == 2 * (4 * 5 + 2) + 2
    assert sum(row.model == "mobilenet_v3_small" for row in PUBLISHED_WEIGHTS) == 3 + 1
    assert sum(row.model == "mobilenet_v3_large" for row in PUBLISHED_WEIGHTS) == 3 + 2
    assert sum(row.model == "shufflenet_v2" for row in PUBLISHED_WEIGHTS) == 4
    assert sum(row.model == "squeezenet" for row in PUBLISHED_WEIGHTS) == 2
    assert sum(row.model == "vgg" for row in PUBLISHED_WEIGHTS) == 4 + 2
    assert sum(row.model == "resnet" for row in PUBLISHED_WEIGHTS) == 8 + 2 * 3
    assert sum(row.model == "resnet_v2" for row in PUBLISHED_WEIGHTS) == 2 * 3
    assert len({row.file_name for row in PUBLISHED_WEIGHTS}) == len(PUBLISHED_WEIGHTS)
    assert {row.preprocessing for row in PUBLISHED_WEIGHTS} <= set(PRESETS)
    assert {row.licence for row in PUBLISHED_WEIGHTS} == {"Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "MIT"}


@pytest.mark.parametrize("row", PUBLISHED_WEIGHTS, ids=lambda row: row.file_name)
def test_every_row_names_options_that_its_model_has(row):
    known = {option.name: option for option in model_spec(row.model).options}
    assert {name: known[name].check(value) for name, value in row.options.items()} == dict(row.options)


def keras_code(application):
    """Read, not imported: that takes seconds."""
    found = importlib.util.find_spec("keras")
    if found is None:
        pytest.skip("Keras is not installed")
    return (Path(found.origin).parent / f"src/applications/{application}.py").read_text()


def keras_hashes(application):
    (table,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(keras_code(application)).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WEIGHTS_HASHES"
    )
    return table


def test_hashes_are_those_of_keras():
    assert {name: hashes[0] for name, hashes in keras_hashes("mobilenet_v3").items()} == V3_HASHES
    assert RESNET_HASHES.items() <= keras_hashes("resnet").items()
    for depth, md5 in VGG_HASHES.items():
        assert f'file_hash="{md5}"' in keras_code(f"vgg{depth}")


@pytest.mark.parametrize("family", KERAS_FAMILIES, ids=lambda family: family.path.rpartition("/")[2])
def test_baselines_hashes_and_names_are_those_of_keras(family):
    if family.model.startswith("efficientnet_"):
        version = family.model.removeprefix("efficientnet_")
        assert family.md5 == keras_hashes("efficientnet")[version]
        assert f'BASE_WEIGHTS_PATH = "{EFFICIENTNET_HOST}/"' in keras_code("efficientnet")
        return
    code = keras_code({"nasnet_mobile": "nasnet"}.get(family.model, family.model))
    with_top, without = (code.index(f'file_hash="{md5}"') for md5 in family.md5)
    assert with_top < without  # Keras asks `if include_top` first
    for ending in family.endings:
        assert f"{family.path.rpartition('/')[2]}{ending}" in code
    assert f"keras-applications/{family.path.split('/')[-2]}/" in code.replace('"\n    "', "")


@pytest.mark.parametrize(
    ("model", "alpha", "resolution", "classifier", "path"),
    [
        ("mobilenet_v1", 1.0, 224, True, "mobilenet/mobilenet_1_0_224_tf.h5"),
        ("mobilenet_v1", 0.75, 160, False, "mobilenet/mobilenet_7_5_160_tf_no_top.h5"),
        ("mobilenet_v1", 0.5, 100, True, "mobilenet/mobilenet_5_0_128_tf.h5"),
        ("mobilenet_v1", 0.25, 1000, True, "mobilenet/mobilenet_2_5_224_tf.h5"),
        ("mobilenet_v1", 0.25, 144, True, "mobilenet/mobilenet_2_5_160_tf.h5"),  # as near to 128: the larger
        ("mobilenet_v2", 0.35, 96, True, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5"),
        (
            "mobilenet_v2",
            1,
            224,
            False,
            "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        ),
        ("mobilenet_v2", 1.4, 96, True, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224.h5"),
    ],
)
def test_the_file_of_that_alpha_and_the_nearest_resolution_is_chosen(model, alpha, resolution, classifier, path):
    assert (
        choose_weights(model, {"alpha": alpha, **KERAS}, resolution, classifier=classifier).url
        == f"{KERAS_HOST}/{path}"
    )


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "mobilenet_v1",
            {"alpha": 0.6},
            r"mobilenet_v1 with alpha 0\.6; there are some with alpha 1, 0\.75, 0\.5, 0\.25; use --alpha 0\.5, ",
        ),
        (
            "shufflenet_v2",
            {"alpha": 1.0, "unit": "megvii"},
            "shufflenet_v2 with unit megvii; there are some with unit torchvision; use --unit torchvision, --weights P",
        ),
        (
            "squeezenet",
            {"version": "1.1", "bypass": "simple", "conv10_padding": 1},
            "with bypass simple and conv10_padding 1; .* use --bypass none --conv10-padding 0, --weights PATH or none",
        ),
        (
            "alexnet",
            {"form": "torch", "resolution": 227},
            "alexnet with resolution 227; there are some with resolution 224; use --resolution 224, --weights PATH or",
        ),
        (
            "resnet",
            {"depth": 50, "form": "paper"},
            "resnet with form paper; there are some with form keras, torch; use --form keras, --weights PATH or none",
        ),
        (
            "mobilenet_v3_small",
            {"alpha": 0.75, "minimalistic": "off", "padding": "symmetric"},
            "mobilenet_v3_small with padding symmetric; there are some with padding same; use --padding same, ",
        ),
    ],
)
def test_a_variant_that_nobody_trained_is_told_the_nearest(model, options, message):
    with pytest.raises(WeightsError, match=message):
        choose_weights(model, options, 224, classifier=True)


@pytest.mark.parametrize(
    ("model", "options", "name", "short_side"),
    [
        ("squeezenet", {"version": "1.0"}, "squeezenet1_0-b66bff10.pth", 256),
        ("squeezenet", {"version": "1.1"}, "squeezenet1_1-b8a52dc0.pth", 256),
        ("shufflenet_v2", {"alpha": 0.5, "unit": "torchvision"}, "shufflenetv2_x0.5-f707e7126e.pth", 256),
        ("shufflenet_v2", {"alpha": 2.0, "unit": "torchvision"}, "shufflenetv2_x2_0-8be3c8ee.pth", 232),
        ("mobilenet_v2", {"padding": "symmetric"}, "mobilenet_v2-7ebf99e0.pth", 232),
        ("mobilenet_v3_large", {"padding": "symmetric"}, "mobilenet_v3_large-5c1a4163.pth", 232),
        ("mobilenet_v3_small", {"padding": "symmetric"}, "mobilenet_v3_small-047dcff4.pth", 256),
        (
            "mobilenet_v3_small",
            {"minimalistic": "on"},
            "weights_mobilenet_v3_small_minimalistic_224_1.0_float.h5",
            None,
        ),
        ("mobilenet_v3_large", {"alpha": 0.75}, "weights_mobilenet_v3_large_224_0.75_float.h5", None),
        ("alexnet", {"form": "torch"}, "alexnet-owt-7be5be79.pth", 256),
        ("vgg", {"depth": 11}, "vgg11-8a719046.pth", 256),
        ("vgg", {"depth": 19}, "vgg19_weights_tf_dim_ordering_tf_kernels.h5", 253),
        ("resnet", {"depth": 18, "form": "torch"}, "resnet18-f37072fd.pth", 256),
        ("resnet", {"depth": 101, "form": "torch"}, "resnet101-cd907fc2.pth", 232),
        ("resnet", {"form": "keras"}, "resnet50_weights_tf_dim_ordering_tf_kernels.h5", 253),
        ("resnet_v2", {"depth": 152, "form": "keras"}, "resnet152v2_weights_tf_dim_ordering_tf_kernels.h5", None),
        ("resnext", {}, "resnext50_32x4d-1a0047aa.pth", 232),
    ],
)
def test_options_choose_the_file(model, options, name, short_side):
    graph = build_model(model, resolution=224, **options)
    row = choose_weights(model, graph.metadata["model"], 224, classifier=True)
    assert (row.file_name, row.prepared_for(224, 224).short_side) == (name, short_side)
    assert row.file_hash is not None


def test_a_files_name_chooses_among_recipes():
    options = {"alpha": 1.0, "padding": "symmetric"}
    row = choose_weights("mobilenet_v2", options, 224, classifier=True, file_name="mobilenet_v2-b0353104.pth")
    assert row.prepared_for(224, 224).short_side == 256
    with pytest.raises(WeightsError, match=r"mobilenet_v2 with padding same; .*use --padding symmetric"):
        choose_weights("mobilenet_v2", {"padding": "same"}, 224, classifier=True, file_name="mobilenet_v2-b0353104.pth")
    with pytest.raises(
        WeightsError, match=r"no ImageNet weights are published for lenet as mobilenet_v2-b0353104\.pth"
    ):
        choose_weights("lenet", {}, 224, classifier=True, file_name="mobilenet_v2-b0353104.pth")


def test_a_model_without_published_weights_says_so():
    with pytest.raises(WeightsError, match="no ImageNet weights are published for lenet; use --weights PATH or none"):
        choose_weights("lenet", {}, 28, classifier=True)


# -- where files lie ---------------------------------------------------------------------------------------------------


def test_cache_folder_is_given_or_from_the_environment_or_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "env"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder() == tmp_path / "env"
    monkeypatch.delenv("EDGEKIT_CACHE")
    assert cache_folder().name == "edgekit"


def test_a_mirror_replaces_the_publishers_address(monkeypatch):
    row = choose_weights("mobilenet_v1", {"alpha": 1.0}, 224, classifier=True)
    monkeypatch.delenv("EDGEKIT_WEIGHTS_URL", raising=False)
    assert download_url(row) == row.url
    monkeypatch.setenv("EDGEKIT_WEIGHTS_URL", "http://mirror.example/files/")
    assert download_url(row) == "http://mirror.example/files/mobilenet_1_0_224_tf.h5"


# -- getting them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["auto", "imagenet"])
@pytest.mark.parametrize("mode", ["ok", "no_length"])
def test_published_weights_are_downloaded_once_and_told_in_the_metadata(server, tmp_path, spec, mode):
    server.mode = mode
    graph, notes = load(spec)
    assert same_weights(graph, randomised(network(seed=9), 9))
    assert notes == []
    digest = hashlib.sha256(server.files[V1_FILE]).hexdigest()
    assert graph.metadata["weights"] == {
        "source": "url",
        "url": f"{KERAS_HOST}/mobilenet/{V1_FILE}",
        "sha256": digest,
        "licence": "Apache-2.0",
        "options": {"alpha": 0.25, "shallow": "off", "unit": "separable"},
        "resolution": 128,
        "classifier": "published",
        "matched_by": "name",
    }
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == [V1_FILE, f"{V1_FILE}.sha256"]
    load(spec)
    assert server.asked == [V1_FILE]


def test_the_callers_words_win_over_the_metadata(server, tmp_path):
    graph, _ = load("imagenet", model="mobilenet_v1", alpha=0.25, resolution=130, cache_dir=tmp_path / "mine")
    assert graph.metadata["weights"]["resolution"] == 128
    assert (tmp_path / "mine" / V1_FILE).is_file()


def test_another_resolution_takes_the_nearest_and_says_so(server):
    graph, notes = load("imagenet", network(resolution=100))
    assert [(n.kind, n.warning) for n in notes] == [("other_resolution", False)]
    assert notes[0].message == "the weights were trained at 128 pixels and are used at 100"
    assert graph.metadata["weights"]["notes"][0]["kind"] == "other_resolution"
    assert graph.metadata["preprocessing"]["height"] == 100
    json.dumps(graph.metadata)


def test_other_classes_keep_a_random_classifier_and_say_so(server):
    plain = network(classes=10, seed=4)
    graph, notes = load("auto", plain)
    assert server.asked == [V1_NO_TOP]
    assert [(n.kind, n.warning) for n in notes] == [("random_classifier", True)]
    assert "the classifier is RANDOM: published weights have 1000 classes, not 10" in notes[0].message
    entry = graph.metadata["weights"]
    assert (entry["classifier"], entry["seed"]) == ("random", 4)
    head = "conv_preds/kernel"
    np.testing.assert_array_equal(graph.tensor(head).array, plain.tensor(head).array)
    body = "conv_pw_13/kernel"
    np.testing.assert_array_equal(graph.tensor(body).array, network(seed=9).tensor(body).array)


def test_none_leaves_the_weights_alone_and_asks_nobody(server):
    graph, notes = load("none", network(seed=5))
    assert same_weights(graph, network(seed=5))
    assert (graph.metadata["weights"], notes, server.asked) == ({"source": "random", "seed": 5}, [], [])


# -- not getting them --------------------------------------------------------------------------------------------------


def check_refused(server, tmp_path, message):
    """`imagenet` raises; `auto` falls back to the random weights it has, loudly; nothing half-written stays behind."""
    with pytest.raises(WeightsError, match=message) as caught:
        load("imagenet")
    text = str(caught.value)
    assert "\n" not in text
    assert f"put the file into {tmp_path / 'cache'}, or use --weights PATH or none" in text
    graph, notes = load("auto", network(seed=6))
    assert same_weights(graph, network(seed=6))
    assert [(n.kind, n.warning) for n in notes] == [("random_weights", True)]
    assert notes[0].message.startswith("the weights are RANDOM and the predictions worthless")
    entry = graph.metadata["weights"]
    assert (entry["source"], entry["seed"], entry["notes"][0]["kind"]) == ("random", 6, "random_weights")
    cache = tmp_path / "cache"
    assert not cache.exists() or [p for p in cache.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("mode", "message", "times_asked"),
    [
        ("missing", "the server answers 404 Not Found", 2),
        ("truncated", "the download broke off|the download ended after", 1),
        ("stalled", "the download broke off after", 1),
        ("page", "the server sent no HDF5 file; is there a log-in page in between", 2),
    ],
)
def test_a_failing_server_is_refused_or_replaced_by_random_weights(server, tmp_path, mode, message, times_asked):
    server.mode = mode
    check_refused(server, tmp_path, message)
    assert len(server.asked) == times_asked
    assert not (tmp_path / "cache" / V1_FILE).exists()


@pytest.mark.usefixtures("impatient")
def test_a_silent_server_is_given_up_and_remembered(server, tmp_path):
    server.mode = "silent"
    check_refused(server, tmp_path, r"the server cannot be reached \(no answer within 0\.3 s\)")
    assert len(server.asked) == 1


def test_a_refused_connection_is_remembered(server, tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("EDGEKIT_WEIGHTS_URL", address)
    check_refused(server, tmp_path, r"the server cannot be reached \(.*refused.*\)")
    monkeypatch.setattr(download.threading, "Thread", None)  # a second attempt would need it
    with pytest.raises(WeightsError, match="the server cannot be reached"):
        load("imagenet")


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_server_is_asked_again_after_forgetting(server):
    server.mode = "silent"
    load("auto")
    server.mode = "ok"
    assert load("auto")[0].metadata["weights"]["source"] == "random"
    forget_unreachable()
    download.ANSWER_PATIENCE_S = 30  # the fixture puts it back
    assert load("auto")[0].metadata["weights"]["source"] == "url"


@pytest.mark.parametrize("address", ["nonsense", "http://", "ftp://127.0.0.1", "http://[::1", "file:///etc"])
def test_an_address_that_is_none_is_refused(server, monkeypatch, address):
    monkeypatch.setenv("EDGEKIT_WEIGHTS_URL", address)
    with pytest.raises(WeightsError, match=r"mobilenet_2_5_128_tf\.h5 is not in the cache and cannot be downloaded"):
        load("imagenet")


def test_auto_falls_back_where_nobody_trained_that_alpha(server):
    graph, notes = load("auto", network(alpha=0.3))
    assert graph.metadata["weights"]["source"] == "random"
    assert "no ImageNet weights are published for mobilenet_v1 with alpha 0.3" in notes[0].message
    assert server.asked == []


def test_auto_falls_back_where_the_published_file_does_not_fit(server):
    server.files = {V1_FILE: server.files[V1_NO_TOP]}
    graph, notes = load("auto")
    assert graph.metadata["weights"]["source"] == "random"
    assert "weights of another architecture: nothing for 'conv_preds/kernel'" in notes[0].message


def test_a_hash_that_differs_is_refused(server, tmp_path):
    with pytest.raises(
        WeightsError, match=r"sha256 is [0-9a-f]{16}\.\.\., should be 0{16}\.\.\.; the file is not the pub"
    ):
        download_weights(f"{server.url}/{V1_FILE}", tmp_path / "x.h5", file_hash=FileHash("sha256", "0" * 64))
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_never_ends_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(WeightsError, match="more than 1000 bytes; this is no weights file"):
        download_weights(f"{server.url}/{V1_FILE}", tmp_path / "x.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot (write|read the cache) .*file"):
        load("imagenet")


def test_a_full_disk_is_named_and_leaves_nothing(server, tmp_path, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_save", full)
    with pytest.raises(WeightsError, match=r"cannot write .* \(No space left on device\); set EDGEKIT_CACHE"):
        load("imagenet")
    assert list((tmp_path / "cache").iterdir()) == []


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_a_damaged_cache_is_fetched_anew(server, tmp_path):
    load("imagenet")
    cached = tmp_path / "cache" / V1_FILE
    data = bytearray(cached.read_bytes())
    data[-5] ^= 1
    cached.write_bytes(bytes(data))
    graph, _ = load("imagenet")
    assert same_weights(graph, randomised(network(seed=9), 9))
    assert len(server.asked) == 2
    assert cached.read_bytes() == server.files[V1_FILE]


def test_a_damaged_cache_without_a_network_is_named(server, tmp_path):
    load("imagenet")
    (tmp_path / "cache" / V1_FILE).write_bytes(b"rotten")
    server.mode = "missing"
    with pytest.raises(
        WeightsError, match=r"is damaged in the cache \(its hash has changed\) and cannot be downloaded"
    ):
        load("imagenet")


def test_a_file_put_into_the_cache_by_hand_is_used_and_guarded_from_then_on(server, tmp_path):
    server.mode = "missing"
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / V1_FILE).write_bytes(server.files[V1_FILE])
    assert load("imagenet")[0].metadata["weights"]["source"] == "url"
    assert server.asked == []
    note = (cache / f"{V1_FILE}.sha256").read_text()
    assert note == f"{hashlib.sha256(server.files[V1_FILE]).hexdigest()}  {V1_FILE}\n"


def test_a_published_hash_outweighs_the_caches_own(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"data")
    digest = hashlib.sha256(b"data").hexdigest()
    assert weight_cache._is_intact(path, FileHash("sha256", digest))
    assert weight_cache._is_intact(path, FileHash("sha256", digest[:8]))
    assert weight_cache._is_intact(path, FileHash("md5", hashlib.md5(b"data").hexdigest()))
    assert not weight_cache._is_intact(path, FileHash("sha256", "0" * 8))


# -- progress ----------------------------------------------------------------------------------------------------------


def test_nothing_is_printed_where_standard_error_is_no_terminal(server, capfd):
    load("imagenet")
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_on_standard_error_only(server, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    load("imagenet")
    out, err = capfd.readouterr()
    assert out == ""
    assert V1_FILE in err


def test_waiting_for_a_silent_server_keeps_no_process_alive(server):
    """The waiting thread is a daemon: the command ends though a look-up may hang on."""
    server.mode = "silent"
    code = (
        "from edgekit.importers import download; from edgekit.errors import WeightsError; from pathlib import Path\n"
        "download.ANSWER_PATIENCE_S, download.STALL_PATIENCE_S = 0.3, 500\n"
        f"try: download.download_weights({server.url!r} + '/x.h5', Path('x.h5'))\n"
        "except WeightsError as problem: print(problem)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "the server cannot be reached" in done.stdout


# -- PyTorch's files ---------------------------------------------------------------------------------------------------

TORCH_FILE = "squeezenet1_1-b8a52dc0.pth"


def squeezenet(seed=0, **options):
    return build_model("squeezenet", **{"version": "1.1", "resolution": 64, "seed": seed, **options})


@pytest.fixture(scope="session")
def torch_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / TORCH_FILE
    torch_archive(path, torchvision_tensors(randomised(squeezenet(seed=9), 9)))
    return path.read_bytes()


@pytest.fixture
def torch_server(server, torch_bytes, monkeypatch):
    """Serves a file in the place of torchvision's; the table is told the beginning of its hash."""
    digest = hashlib.sha256(torch_bytes).hexdigest()[:8]
    rows = tuple(
        replace(row, file_hash=FileHash("sha256", digest)) if row.file_name == TORCH_FILE else row
        for row in PUBLISHED_WEIGHTS
    )
    monkeypatch.setattr(published, "PUBLISHED_WEIGHTS", rows)
    server.files = {TORCH_FILE: torch_bytes}
    return server


@pytest.mark.parametrize("spec", ["auto", "imagenet", TORCH_FILE])
def test_a_state_dict_is_downloaded_checked_by_its_hashs_beginning_and_told(torch_server, spec):
    graph, notes = load(spec, squeezenet())
    assert same_weights(graph, randomised(squeezenet(seed=9), 9))
    assert [note.kind for note in notes] == ["other_resolution"]
    entry = graph.metadata["weights"]
    assert (entry["url"], entry["licence"]) == (f"https://download.pytorch.org/models/{TORCH_FILE}", "BSD-3-Clause")
    assert (entry["options"]["version"], entry["matched_by"]) == ("1.1", "name")
    assert graph.metadata["preprocessing"] == PRESETS["torch"].with_size(64, 64).to_metadata()
    json.dumps(graph.metadata)
    load(spec, squeezenet())
    assert torch_server.asked == [TORCH_FILE]


def test_a_state_dict_with_classifier_serves_other_classes(torch_server):
    graph, notes = load("imagenet", squeezenet(classes=7))
    assert [note.kind for note in notes] == ["random_classifier", "other_resolution"]
    body, head = "fire9/expand3x3/kernel", "conv10/kernel"
    np.testing.assert_array_equal(graph.tensor(body).array, squeezenet(seed=9).tensor(body).array)
    np.testing.assert_array_equal(graph.tensor(head).array, squeezenet(classes=7).tensor(head).array)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("truncated", "the download broke off|the download ended after"),
        ("page", "the server sent no PyTorch file; is there a log-in page in between"),
    ],
)
def test_a_state_dict_cut_short_or_replaced_is_not_kept(torch_server, tmp_path, mode, message):
    torch_server.mode = mode
    with pytest.raises(WeightsError, match=message):
        load("imagenet", squeezenet())
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_state_dict_whose_hash_begins_otherwise_is_refused(server, torch_bytes, tmp_path):
    server.files = {TORCH_FILE: torch_bytes}
    with pytest.raises(
        WeightsError, match=r"sha256 is [0-9a-f]{8}\.\.\., should be b8a52dc0\.\.\.; the file is not the pub"
    ):
        load("imagenet", squeezenet())
    assert list((tmp_path / "cache").iterdir()) == []


def test_auto_without_the_options_that_have_weights_says_which_have(server):
    _, notes = load("auto", build_model("shufflenet_v2", alpha=0.5, resolution=64))
    assert [(note.kind, note.warning) for note in notes] == [("random_weights", True)]
    assert "with unit megvii; there are some with unit torchvision; use --unit torchvision" in notes[0].message
    assert server.asked == []


def test_a_keras_file_with_classifier_serves_other_classes(server, monkeypatch, tmp_path):
    """MobileNet V3: the published file without classifier lacks `conv_2` too. Its own names are not ours."""

    def small(**options):
        return build_model("mobilenet_v3_small", resolution=32, **options)

    layers = keras_layers(randomised(small(seed=9), 9))
    renamed = [(f"theirs_{i}", kind, arrays) for i, (_, kind, arrays) in enumerate(layers)]
    row = choose_weights("mobilenet_v3_small", {}, 224, classifier=True)
    data = write_legacy(tmp_path / "w.h5", renamed).read_bytes()
    own_hash = FileHash("md5", hashlib.md5(data).hexdigest())
    monkeypatch.setattr(published, "PUBLISHED_WEIGHTS", (replace(row, file_hash=own_hash),))
    server.files = {row.file_name: data}
    for classes in (1000, 7):
        graph, _ = load("imagenet", small(classes=classes))
        assert graph.metadata["weights"]["matched_by"] == "order"
        for name in ("conv_2/kernel", "expanded_conv_10_project_bn/mean"):
            expected = randomised(small(seed=9), 9).tensor(name).array
            np.testing.assert_array_equal(graph.tensor(name).array, expected)
