"""Round trips of each coder, and their sizes beside entropies and constriction's coders."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import bits_of, kernel, tensors

from edgekit.compress.arrangement import DEPTHWISE, FLAT, Arrangement, runs
from edgekit.compress.bits import BitReader, BitWriter, read_sorted, write_sorted
from edgekit.compress.container import Content, read_container, write_container
from edgekit.compress.estimate import coded_size, plan_adaptive
from edgekit.compress.huffman import code_lengths, huffman_bytes, huffman_values
from edgekit.compress.index import METHODS, read_head
from edgekit.compress.lanes import LaneDecoder, LaneEncoder
from edgekit.compress.stream import pack_lows, unpack_lows
from edgekit.errors import WeightsError


@pytest.mark.parametrize("methods", [(method,) for method in METHODS] + [METHODS], ids="-".join)
@given(st.lists(tensors(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_every_tensor_comes_back_to_the_bit(methods, arrays):
    content = Content({f"t{k}": array for k, array in enumerate(arrays)})
    restored = read_container(write_container(content, methods)).tensors
    assert [bits_of(a) for a in restored.values()] == [bits_of(a) for a in arrays]


@pytest.mark.parametrize("shape", [(40, 7, 3, 3), (65, 3, 5, 5), (200, 33), (1, 3, 3, 48), (3, 3, 20, 30), (1000,)])
def test_the_adaptive_coder_alone_brings_kernels_back(shape):
    array = kernel(shape)
    plan = plan_adaptive(array)
    data = write_container(Content({"k": array}), ("adaptive",))
    assert read_head(data)[0].tensors[0].method == "adaptive"
    assert bits_of(read_container(data).tensors["k"]) == bits_of(array)
    assert plan.size.bits / 8 == pytest.approx(len(data), abs=130 + 0.01 * len(data))  # header, index, lanes' ends


def test_the_estimate_is_what_is_written():
    array = kernel((256, 64, 3, 3), codes=64)
    size = coded_size(array)
    data = write_container(Content({"k": array}))
    index, _ = read_head(data)
    assert 8 * index.tables - 8 < size.table_bits <= 8 * index.tables
    # 16 bits a lane and what the last states do not use
    assert 0 < index.stream - size.element_bits / 8 < 0.004 * index.stream + 16


def test_the_adaptive_coder_beats_the_best_static_one():
    """constriction's ANS with the tensor's own frequencies, which it gets for free."""
    array = kernel((128, 64, 3, 3), codes=64)
    values, indices = np.unique(array, return_inverse=True)
    shares = np.bincount(indices.ravel()) / indices.size
    coder = constriction.stream.stack.AnsCoder()
    model = constriction.stream.model.Categorical(shares.astype(np.float32), perfect=True)
    coder.encode_reverse(indices.ravel().astype(np.int32), model)
    assert coded_size(array).element_bits < 0.995 * 32 * len(coder.get_compressed())
    assert len(values) == 65


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=60))
def test_huffman_codes_are_optimal(counts):
    """As long as constriction's Huffman codes, which break ties in another way."""
    lengths = code_lengths(np.array(counts))
    used = [c for c in counts if c]
    if len(used) < 2:
        return
    book = constriction.symbol.huffman.EncoderHuffmanTree(np.array(used, np.float64) / sum(used))
    theirs = 0
    for symbol, count in enumerate(used):
        one = constriction.symbol.QueueEncoder()
        before = one.get_compressed()[1]
        one.encode_symbol(symbol, book)
        theirs += count * (one.get_compressed()[1] - before)
    assert int((lengths * np.array(counts)).sum()) <= theirs


def test_long_huffman_codes_are_limited():
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(np.array(fibonacci))
    assert lengths.max() <= 15
    assert (2.0**-lengths).sum() <= 1


def test_long_gaps_have_zeros_in_between():
    array = np.zeros(3000, np.float32)
    array[[5, 900, 2999]] = (1, -2, 3)
    assert bits_of(huffman_values(huffman_bytes(array), 3000, array.dtype)) == bits_of(array)


@given(st.integers(0, 6), st.data())
@settings(max_examples=60, deadline=None)
def test_lanes_decode_what_they_encoded(lane_bits, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    raw = rng.integers(0, 1 << 16, 1 << lane_bits).astype(np.uint16)
    freqs = rng.multinomial(4096 - 5, rng.dirichlet([0.3] * 5), size=3) + 1
    encoder, wanted = LaneEncoder(), []
    for _ in range(data.draw(st.integers(0, 4))):
        count = int(rng.integers(0, 300))
        ones, rows = rng.integers(1, 1 << 16, count), rng.integers(0, 3, count)
        flags = encoder.flags(ones, rng.random(count) < ones / 65536)
        wanted.append((ones, rows, flags, encoder.symbols(rows, freqs, rng.integers(0, 5, count))))
    states, words = encoder.finish(raw)
    decoder = LaneDecoder(states, words)
    for ones, rows, flags, symbols in wanted:
        assert (decoder.flags(ones, None) == flags).all()
        assert (decoder.symbols(rows, freqs, None) == symbols).all()
    assert (decoder.finish() == raw).all()


def test_lanes_that_run_out_or_do_not_end_say_so():
    encoder = LaneEncoder()
    ones = np.full(500, 1 << 15)
    encoder.flags(ones, np.arange(500) % 3 == 0)
    states, words = encoder.finish(np.zeros(4, np.uint16))
    with pytest.raises(WeightsError, match="end too early"):
        LaneDecoder(states, words[:3]).flags(ones, None)
    unfinished = LaneDecoder(states, words)
    unfinished.flags(ones[:100], None)
    with pytest.raises(WeightsError, match="do not end where they should"):
        unfinished.finish()
    with pytest.raises(WeightsError, match="state of the range coder is damaged"):
        LaneDecoder(states >> 16, words)
    with pytest.raises(TypeError, match="must be told"):
        encoder.flags(ones, None)


@given(st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_sorted_numbers_come_back(numbers):
    bits = BitWriter()
    write_sorted(bits, sorted(numbers), 32)
    reader = BitReader(bits.done())
    assert read_sorted(reader, len(numbers), 32) == sorted(numbers)
    reader.finish()


@given(st.integers(1, 64), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_lower_bits_come_back(width, count, seed):
    rng = np.random.default_rng(seed)
    lows = rng.integers(0, 2**64, count, np.uint64, endpoint=False) >> np.uint64(64 - width)
    assert (unpack_lows(pack_lows(lows, width), count, width) == lows).all()


@given(st.integers(1, 300), st.integers(1, 5), st.integers(0, 6))
def test_runs_take_each_row_once_and_know_its_neighbours(rows, columns, stride_bits):
    done = set()
    for run in runs(rows, columns, stride_bits):
        new = set(range(run.first, rows, run.step)[: run.count])
        assert len(new) == run.count
        assert not new & done
        if run.distance:
            assert {row - run.distance for row in new} <= done
            assert {row + run.distance for row in new if row + run.distance < rows} <= done
        done |= new
    assert done == set(range(rows))


@pytest.mark.parametrize("order", range(FLAT, DEPTHWISE + 1))
def test_arrangements_are_permutations(order):
    shape = (6, 5, 3, 2)
    arrangement = Arrangement.of(shape, order)
    flat = np.arange(np.prod(shape))
    seen = arrangement.to_taps(flat)
    assert seen.shape == (arrangement.taps, arrangement.rows, arrangement.columns)
    assert (arrangement.from_taps(np.ascontiguousarray(seen)) == flat).all()
