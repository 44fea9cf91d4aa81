"""SqueezeNet v1.0 with its published ImageNet weights in Caffe layout, as an edgekit graph and as a Keras model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgekit.data.preprocess import CAFFE
from edgekit.graph import Graph
from edgekit.importers.weights import load_weights
from edgekit.zoo.squeezenet import squeezenet

FIRES = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
"""fire module -> squeeze channels; each expand has four times as many."""
POOL_AFTER = (4, 8)


def data_dir() -> Path:
    """The folder of real images and weights: EDGEKIT_DATA, then ../shared/data beside the checkout."""
    folder = Path(os.environ.get("EDGEKIT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not (folder / "squeezenet_v1.0_imagenet.npz").exists():
        raise SystemExit(f"{folder} lacks squeezenet_v1.0_imagenet.npz: set EDGEKIT_DATA")
    return folder


def squeezenet_graph(weights_file: Path) -> Graph:
    """The zoo's graph with the weights of that file."""
    return load_weights(squeezenet(conv10_padding=1), weights_file)


def squeezenet_keras(weights: Any) -> Any:
    """The same network as a Keras model, for TensorFlow's converter; weights maps `<layer>/w` and `<layer>/b`."""
    import keras
    from keras import layers

    def conv(x: Any, layer: str, kernel: int, stride: int = 1, padding: str = "valid") -> Any:
        made = layers.Conv2D(
            weights[f"{layer}/b"].size, kernel, stride, padding, activation="relu", name=layer.replace("/", "_")
        )
        y = made(x)
        made.set_weights([weights[f"{layer}/w"].transpose(2, 3, 1, 0), weights[f"{layer}/b"]])
        return y

    image = keras.Input(CAFFE.input_shape[1:], batch_size=1)
    x = layers.MaxPooling2D(3, 2)(conv(image, "conv1", 7, 2))
    for i in FIRES:
        squeezed = conv(x, f"fire{i}/conv1x1_1", 1)
        x = layers.Concatenate()(
            [conv(squeezed, f"fire{i}/conv1x1_2", 1), conv(squeezed, f"fire{i}/conv3x3_2", 3, padding="same")]
        )
        if i in POOL_AFTER:
            x = layers.MaxPooling2D(3, 2)(x)
    x = conv(layers.ZeroPadding2D(1)(x), "conv_final", 1)
    return keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(x)))
