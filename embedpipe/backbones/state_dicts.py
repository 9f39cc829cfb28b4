"""Weights as tensors: read from any file format, compared with a network shape by shape, hashed."""

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from embedpipe.core.errors import WeightsError

StateDict = Mapping[str, Tensor]


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


def load_into(network: nn.Module, state: StateDict, source: str, heads: Collection[str]) -> None:
    """Copies weights into a network after comparing every shape; the classifier head may have another size.

    Weights that use other names are taken in order when every shape agrees.

    Args:
        network: Changed in place.
        state: Tensors by name.
        source: Where they come from, for the messages.
        heads: Names of the classifier's layers: their tensors are not needed.

    Raises:
        WeightsError: Names the first tensor that is missing, has another shape, or holds NaN or infinity.
    """
    whole = network.state_dict()
    own = {name: tensor for name, tensor in whole.items() if not _below(name, heads)}
    given = {name: tensor for name, tensor in state.items() if not _below(name, heads)}
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
    for name in own:
        if given[name].is_floating_point() and not torch.isfinite(given[name]).all():
            raise WeightsError(f"{source}: {name} holds values that are no finite numbers: take a sound file")
    fitting = OrderedDict((name, given[name]) for name in own)
    fitting._metadata = whole._metadata  # type: ignore[attr-defined]  # noqa: SLF001 - MnasNet asks for its version
    network.load_state_dict(fitting, strict=False)


def _below(name: str, layers: Collection[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


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
