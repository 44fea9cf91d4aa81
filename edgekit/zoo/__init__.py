"""Networks by name: seeded builders whose options and published numbers are data."""

from __future__ import annotations

from edgekit.zoo import alexnet as _alexnet  # importing a family registers its models
from edgekit.zoo import condensenet as _condensenet
from edgekit.zoo import densenet as _densenet
from edgekit.zoo import efficientnet as _efficientnet
from edgekit.zoo import igcv1 as _igcv1
from edgekit.zoo import igcv2 as _igcv2
from edgekit.zoo import igcv3 as _igcv3
from edgekit.zoo import inception_v1 as _inception_v1
from edgekit.zoo import inception_v3 as _inception_v3
from edgekit.zoo import lenet as _lenet
from edgekit.zoo import mobilenet as _mobilenet
from edgekit.zoo import mobilenet_v3 as _mobilenet_v3
from edgekit.zoo import nasnet as _nasnet
from edgekit.zoo import resnet as _resnet
from edgekit.zoo import resnet_cifar as _resnet_cifar
from edgekit.zoo import shufflenet_v1 as _shufflenet_v1
from edgekit.zoo import shufflenet_v2 as _shufflenet_v2
from edgekit.zoo import shufflenet_v2_large as _shufflenet_v2_large
from edgekit.zoo import squeezenet as _squeezenet
from edgekit.zoo import squeezenext as _squeezenext
from edgekit.zoo import vgg as _vgg
from edgekit.zoo import xception as _xception
from edgekit.zoo.options import Option
from edgekit.zoo.registry import (
    ModelSpec,
    Published,
    build_model,
    model_names,
    model_spec,
    resolution_from_rho,
)
from edgekit.zoo.rows import ModelRow, model_rows

FAMILIES = (
    _squeezenet,
    _squeezenext,
    _mobilenet,
    _mobilenet_v3,
    _shufflenet_v1,
    _shufflenet_v2,
    _shufflenet_v2_large,
    _igcv1,
    _igcv2,
    _igcv3,
    _condensenet,
    _lenet,
    _alexnet,
    _vgg,
    _resnet,
    _resnet_cifar,
    _densenet,
    _inception_v1,
    _inception_v3,
    _xception,
    _nasnet,
    _efficientnet,
)

__all__ = [
    "FAMILIES",
    "ModelRow",
    "ModelSpec",
    "Option",
    "Published",
    "build_model",
    "model_names",
    "model_rows",
    "model_spec",
    "resolution_from_rho",
]
