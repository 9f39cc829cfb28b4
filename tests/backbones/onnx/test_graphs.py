"""Networks that come as ONNX files: their stages, their features, and the regions that they find."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_files import OnnxFile, classifier, detector

from embedpipe.backbones.engines import OpenVinoEngine
from embedpipe.backbones.layers import Stage
from embedpipe.backbones.onnx.graphs import GraphNetwork, find_graph_stages
from embedpipe.backbones.onnx.layouts import Layout
from embedpipe.backbones.onnx.networks import NETWORKS, OnnxNetwork, read_onnx
from embedpipe.backbones.weight_files import WeightsFile
from embedpipe.core.errors import EmbedpipeError, UnknownNameError, WeightsError

PLAIN = OnnxNetwork("tiny", WeightsFile("", "tiny.onnx"), (0.0,) * 3, (1.0,) * 3, ((8, 12), (16, 16)), 0, 64)


def features(file: Path, known: OnnxNetwork, pixels: np.ndarray, layers: str = "stages") -> np.ndarray:
    """Of pages, in full precision."""
    network = GraphNetwork(file, known, layers)
    return OpenVinoEngine(network.model, "fp32", 1, layout=network.layout).start(pixels)()


def pages(*shape: int) -> np.ndarray:
    """Noise."""
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


def test_a_stage_ends_where_the_next_one_begins(tmp_path: Path) -> None:
    """The last map of each stride counts, and not the wide inside of a block with a shortcut."""
    stages = find_graph_stages(read_onnx(classifier(tmp_path / "a.onnx")))
    assert list(stages) == [Stage(2, 4), Stage(4, 8), Stage(8, 12), Stage(16, 16)]


def test_a_neck_is_no_stage(tmp_path: Path) -> None:
    """Maps that were enlarged, and deeper ones of fewer channels, do not count."""
    net = OnnxFile()
    x = net.conv(net.conv("x", 3, 8, stride=4), 8, 16, stride=2)
    top = net.conv(net.conv(x, 16, 6, size=1), 6, 6, stride=2)
    scales = net.tensor(np.array([1, 1, 2, 2], np.float32))
    joined = net.op("Concat", [net.op("Resize", [top, "", scales], mode="nearest"), x], axis=1)
    file = net.save(tmp_path / "a.onnx", [net.conv(joined, 22, 40)])
    assert list(find_graph_stages(read_onnx(file))) == [Stage(4, 8), Stage(8, 16)]


@pytest.mark.parametrize("shape", [(1, 64, 48), (3, 48, 64), (2, 80, 80)])
def test_features_of_any_batch_and_shape_are_pooled_maps(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """A row has the mean and the deviation of each stage's map, and does not depend on the other pages."""
    file, pixels = classifier(tmp_path / "a.onnx"), pages(*shape)
    X = features(file, PLAIN, pixels)
    assert [name for name, _, _ in GraphNetwork(file, PLAIN, "stages").blocks] == [
        *("stride8x12_avg", "stride8x12_std", "stride16x16_avg", "stride16x16_std")
    ]
    assert X.shape == (shape[0], 2 * (12 + 16))
    assert (X >= 0).all()
    assert np.allclose(X[-1:], features(file, PLAIN, pixels[-1:]), rtol=1e-4, atol=1e-5)
    assert np.allclose(features(file, PLAIN, pixels, "penultimate"), X[:, 24:40], rtol=1e-4, atol=1e-5)


def test_the_order_of_colours_and_their_scale_are_the_networks(tmp_path: Path) -> None:
    """A network that has blue first sees red pages as one that has red first sees blue ones."""
    file, pixels = classifier(tmp_path / "a.onnx"), pages(1, 64, 64)
    turned = features(file, replace(PLAIN, bgr=True), pixels[..., ::-1].copy())
    assert np.allclose(turned, features(file, PLAIN, pixels), rtol=1e-4, atol=1e-5)
    halves = replace(PLAIN, mean=(0.5,) * 3, std=(0.5,) * 3)
    grey = np.full((1, 64, 64, 3), 127.5, np.float32).astype(np.uint8)
    assert np.abs(features(file, halves, grey)).max() < 0.1 * np.abs(features(file, PLAIN, grey)).max()


@pytest.mark.parametrize("shape", [(64, 64), (80, 48), (48, 80)])
def test_regions_become_shares_of_the_page(tmp_path: Path, shape: tuple[int, int]) -> None:
    """A third of the page that is dark is a third of the first type; also where the maps have odd sizes."""
    layout = Layout(("dark", "bright"), strides=(8, 16), threshold=0.9)
    file, known = detector(tmp_path / "a.onnx"), replace(PLAIN, layout=layout)
    pixels = np.full((2, *shape, 3), 255, np.uint8)
    dark = shape[0] // 2 // 8 * 8
    pixels[1, :dark] = 0
    network = GraphNetwork(file, known, "stages")
    name, start, stop = network.blocks[-1]
    assert (name, stop - start) == ("layout", 2)
    X = features(file, known, pixels)
    assert X.shape == (2, stop)
    assert np.allclose(X[0, start:], [0, 1], atol=0.05)
    assert np.allclose(X[1, start:], [dark / shape[0], 1 - dark / shape[0]], atol=0.07)
    assert features(file, known, pixels, "penultimate").shape[1] == network.blocks[0][2]


def test_the_better_of_two_regions_that_overlap_counts() -> None:
    """Places are covered by the region of the highest score, whatever the order."""
    layout = Layout(("a", "b"), strides=(32,), threshold=0.5, raster=4)
    raw = np.array([0.6, 0.0, 0.9, 0.0, 0.5, 0.5, 0.5, 0.5], np.float32).reshape(8, 1)  # one place, four distances
    scores = np.array([[0.6], [0.9]], np.float32)
    distances = np.full((4, 1), 0.5, np.float32)
    raw = np.vstack([scores, distances]).reshape(1, -1)
    assert layout.shares(raw, 32, 32).tolist() == [[0, 1]]
    scores[:] = [[0.6], [0.4]]
    assert layout.shares(np.vstack([scores, distances]).reshape(1, -1), 32, 32).tolist() == [[1, 0]]
    scores[:] = 0.4
    assert layout.shares(np.vstack([scores, distances]).reshape(1, -1), 32, 32).tolist() == [[0, 0]]


def test_what_is_no_such_network_is_refused(tmp_path: Path) -> None:
    """Other files, sets of layers that do not exist, and networks without maps have one line each."""
    file = tmp_path / "a.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"a\.onnx is no network"):
        read_onnx(file)
    with pytest.raises(UnknownNameError, match="set of layers"):
        GraphNetwork(classifier(file), PLAIN, "stagse")
    net = OnnxFile()
    flat = net.save(tmp_path / "b.onnx", [net.op("Flatten", [net.op("GlobalAveragePool", ["x"])])])
    with pytest.raises(EmbedpipeError, match="no feature maps"):
        GraphNetwork(flat, PLAIN, "stages")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_real_networks_are_as_the_table_says(name: str) -> None:
    """Stages, number of weights and regions of the published files, where they are installed."""
    known = NETWORKS[name]
    file = known.file.find()
    if file is None:
        pytest.skip(f"{known.file.distribution} is not installed")
    network = read_onnx(known.file.fetch())
    stages = [stage for stage in find_graph_stages(network) if stage.stride >= 8]
    assert stages == [Stage(*stage) for stage in known.stages]
    counts = [
        np.prod(node.get_output_shape(0), dtype=int)
        for node in network.get_ops()
        if node.get_type_name() == "Constant" and node.get_output_element_type(0).is_real()
    ]
    assert sum(counts) == pytest.approx(known.parameters, rel=0.01)
