"""Lossless `.ekz` beside zip, zstd and xz: the Deep Compression authors' weights, int8 files; time and memory.

Run: python benchmarks/lossless_files.py [--json FILE]. The int8 files have random weights unless --files names others.
Needs EDGEKIT_DATA for the authors' weights, `zstd` for its column and `cc` for the C decoder's time.
"""

from __future__ import annotations

import argparse
import json
import lzma
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from machine import machine_line
from squeezenet_caffe import data_dir

from edgekit.compress.container import Content, read_container, write_container
from edgekit.compress.huffman import huffman_bytes
from edgekit.compress.measure import tensor_rows
from edgekit.pipeline.container_file import lossless_bytes
from edgekit.pipeline.export_model import ExportRequest, export_model
from edgekit.pipeline.model import ModelRequest

ROOT = Path(__file__).resolve().parents[1]
AUTHORS_BYTES = 675_763
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--files", type=Path, nargs="*")
    arguments = parser.parse_args()
    print(machine_line(), "\n")
    with tempfile.TemporaryDirectory() as scratch:
        found = {"authors": authors_weights(Path(scratch))}
        found["files"] = [file_row(path) for path in arguments.files or exported(Path(scratch))]
    print("\n| file | bytes | zip | zstd -22 | xz -9 | .ekz | of zip |\n|---|---|---|---|---|---|---|")
    for row in found["files"]:
        sizes = " | ".join(f"{row[key]:,}" if row[key] else "" for key in ("bytes", "zip", "zstd", "xz", "ekz"))
        print(f"| {row['name']} | {sizes} | {row['ekz'] / row['zip']:.3f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


def authors_weights(scratch: Path) -> dict[str, float]:
    with np.load(data_dir() / "squeezenet_v1.0_imagenet.npz") as stored:
        tensors = {name: stored[name] for name in stored.files}
    content = Content(tensors)
    path = scratch / "authors.ekz"
    encode = best(lambda: path.write_bytes(write_container(content)), 2)
    data = path.read_bytes()
    decode = best(lambda: read_container(data), REPEATS)
    restored = read_container(data).tensors
    assert all(restored[name].tobytes() == array.tobytes() for name, array in tensors.items())
    plain = sum(array.nbytes for array in tensors.values())
    rows = tensor_rows(data, Content(restored))
    kernels = sum(row.coded_bytes for row in rows if row.name.endswith("/w"))
    huffman = sum(len(huffman_bytes(array) or array.tobytes()) for array in tensors.values())
    raw = b"".join(array.tobytes() for array in tensors.values())
    native = c_seconds(path, scratch)
    memory = {what: in_child(what, path) for what in ("encode", "decode")}
    print("| SqueezeNet v1.0, authors' weights | bytes |\n|---|---|")
    for name, size in {
        "float32": plain,
        "zip": len(zlib.compress(raw, 9)),
        "xz -9": len(lzma.compress(raw, preset=9)),
        "the authors' own file": AUTHORS_BYTES,
        "Huffman as in their paper, codebooks packed": huffman,
        ".ekz, whole file": len(data),
        ".ekz, the 26 kernels with codebooks": round(kernels),
    }.items():
        print(f"| {name} | {size:,} |")
    print(f"\nencoding {encode:.2f} s, decoding {decode:.3f} s in Python, {native:.3f} s in C (a whole process);")
    print("peak memory above the loaded data: " + ", ".join(f"{k} {v / plain:.1f}x" for k, v in memory.items()))
    return {"ekz": len(data), "kernels": kernels, "encode_s": encode, "decode_s": decode, "c_s": native, **memory}


def best(action: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def in_child(what: str, path: Path) -> int:
    """Bytes of peak memory that encoding or decoding adds in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(added_memory, (what, path))


def added_memory(what: str, path: Path) -> int:
    data = path.read_bytes()
    content = Content({name: array.copy() for name, array in read_container(data).tensors.items()})
    if what == "decode":
        del content
    before = current_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # begin to watch the peak anew
    if what == "encode":
        write_container(content)
    else:
        read_container(data)
    return peak_bytes() - before


def current_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def c_seconds(path: Path, scratch: Path) -> float:
    if shutil.which("cc") is None:
        return float("nan")
    program = scratch / "ekz_cli"
    sources = [str(ROOT / "native" / name) for name in ("ekz.c", "ekz_cli.c")]
    subprocess.run(["cc", "-std=c99", "-O2", *sources, "-o", str(program), "-lm"], check=True)
    command = [str(program), str(path)]
    return best(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), REPEATS)


def exported(scratch: Path) -> list[Path]:
    """int8 files of MobileNet V2 and ResNet-20 (CIFAR's shapes), weights random."""
    found: list[Path] = []
    for model in ("mobilenet_v2", "resnet_cifar"):
        request = ExportRequest(ModelRequest(model, {}, weights="none"), precision="int8", out=scratch)
        found += export_model(request).files.values()
    return found


def file_row(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    packed = lossless_bytes(data, path.name)
    assert read_container(packed).file_bytes(0) == data
    zstd = 0
    if shutil.which("zstd"):
        zstd = len(subprocess.run(["zstd", "--ultra", "-22", "-c", path], capture_output=True, check=True).stdout)
    sizes = {"zip": len(zlib.compress(data, 9)), "xz": len(lzma.compress(data, preset=9)), "ekz": len(packed)}
    return {"name": path.name, "bytes": len(data), "zstd": zstd, **sizes}


if __name__ == "__main__":
    sys.exit(main())
