"""What a graph, and with it an exported file, is called."""

from __future__ import annotations

from collections import Counter


def graph_name(*parts: str | float) -> str:
    """The parts joined by `_`; empty ones are left out: `shufflenet_v1_g3_0.5_shallow_224`.

    Variants of a model have different names, so that their files lie side by side in one folder.
    """
    texts = (part if isinstance(part, str) else f"{part:.10g}" for part in parts)
    return "_".join(text for text in texts if text)


def if_on(switch: str, text: str) -> str:
    """`text` where an option that is on or off is on; else nothing."""
    return text if switch == "on" else ""


class AutoNames:
    """Names as Keras gives them to layers that nobody named: `conv2d`, `conv2d_1`, ... in the order of creation."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def next(self, kind: str) -> str:
        """The next name of that kind."""
        number = self._used[kind]
        self._used[kind] += 1
        return f"{kind}_{number}" if number else kind
