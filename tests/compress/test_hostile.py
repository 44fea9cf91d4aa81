"""What the decoder in Python makes of containers that lie; the one in C meets them in test_native.py."""

from __future__ import annotations

import hostile
import pytest

from edgekit.compress.container import read_container
from edgekit.errors import ContainerError


@pytest.mark.parametrize("name", hostile.SOUND)
def test_what_the_lies_are_made_from_is_sound(name):
    assert read_container(hostile.SOUND[name]).tensors["w"].tobytes() == bytes(4)


@pytest.mark.parametrize("name", hostile.LIES)
def test_lies_are_refused(name):
    data, message = hostile.LIES[name]
    with pytest.raises(ContainerError, match=message):
        read_container(data)


@pytest.mark.parametrize("metadata", [b"[" * 100_000, b"{", b"[]", b"1" * 5000, b"\xff", b"nul"])
def test_metadata_that_are_no_object_are_refused(metadata):
    with pytest.raises(ContainerError, match="damaged"):
        read_container(hostile.container(metadata=metadata))


def test_nothing_is_wrong_with_many_small_parts():
    assert len(read_container(hostile.many_tensors(3000)).tensors) == 3000
    assert read_container(hostile.many_blocks(10_000)).tensors["w"].size == 0
