"""Which part of a network is trained: its stages, counted from the output."""

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from embedpipe.core.display import whole_number
from embedpipe.core.errors import UsageError

HEAD, LAST_STAGE, ALL = "head", "last-stage", "all"
_MAP, _VECTOR = 4, 2
_DROP_PATHS = ("drop_path", "drop_path1", "drop_path2")  # timm's names


def find_depths(network: nn.Module, size: int) -> list[list[str]]:
    """Names of a network's parameters by stage, from the input to the output.

    Layers whose maps have one size are one stage, as in the literature (Lin et al., 2017, arXiv:1612.03144); fully
    connected layers after the last map are a stage each. Where the maps never shrink, as in a vision transformer,
    each block is a stage.

    Args:
        network: In eval mode, ending with its penultimate layer.
        size: Pixels of a picture that it takes.
    """
    ran = _run(network, size)
    owners = {name: own for name, module in network.named_modules() if (own := _own(module, name))}
    blocks = _blocks(network, list(owners))
    shrinks = len({rows for _, rows, _ in ran.values() if rows > 1}) > 1
    keys = _keys_by_map(ran, blocks) if shrinks else blocks
    depths: dict[str, list[str]] = {key: [] for key in keys.values()}
    last = next(iter(depths))
    for name, parameters in owners.items():  # what never ran, such as an auxiliary output, goes with what is before it
        last = keys.get(name, last)
        depths[last] += parameters
    return list(depths.values())


def _own(module: nn.Module, name: str) -> list[str]:
    return [f"{name}.{own}" if name else own for own, _ in module.named_parameters(recurse=False)]


def _run(network: nn.Module, size: int) -> dict[str, tuple[int, int, bool]]:
    """Modules with parameters in the order in which they run: dimensions, rows of the map, whether it is linear."""
    ran: dict[str, tuple[int, int, bool]] = {}

    def note(name: str, module: nn.Module, output: object) -> None:
        if isinstance(output, Tensor):
            shape = output.shape
            rows = 0 if len(shape) != _MAP else shape[1] if shape[1] == shape[2] else shape[2]  # channels may be last
            ran.setdefault(name, (len(shape), rows, isinstance(module, nn.Linear)))

    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: note(name, module, output))
        for name, module in network.named_modules()
        if _own(module, name)
    ]
    with torch.inference_mode():
        network(torch.zeros((1, 3, size, size)))
    for hook in hooks:
        hook.remove()
    return ran


def _blocks(network: nn.Module, owners: list[str]) -> dict[str, str]:
    """The member of the outermost sequence that each module lies in; the one before it for modules in none."""
    sequences = {name for name, module in network.named_modules() if isinstance(module, nn.Sequential | nn.ModuleList)}
    blocks: dict[str, str] = {}
    block = ""
    for name in owners:
        parts = name.split(".")
        above = (".".join(parts[:depth]) for depth in range(1, len(parts)))
        outermost = next((depth for depth, parent in enumerate(above, 1) if parent in sequences), None)
        block = block if outermost is None else ".".join(parts[: outermost + 1])
        blocks[name] = block
    return blocks


def _keys_by_map(ran: dict[str, tuple[int, int, bool]], blocks: dict[str, str]) -> dict[str, str]:
    last_map = max(place for place, (_, rows, _) in enumerate(ran.values()) if rows > 1)
    keys: dict[str, str] = {}
    smallest, key = 0, ""
    for place, (name, (dimensions, rows, linear)) in enumerate(ran.items()):
        if rows > 1 and (rows < smallest or not smallest):
            smallest, key = rows, f"map {rows}"
        elif place > last_map and linear and dimensions == _VECTOR:
            key = name
        keys[name] = key
    ends = {blocks[name]: key for name, key in keys.items() if name.startswith(f"{blocks[name]}.")}
    # a block that makes the map smaller belongs to the new stage as a whole
    return {name: ends[blocks[name]] if name.startswith(f"{blocks[name]}.") else key for name, key in keys.items()}


def trained_depths(depths: list[list[str]], unfreeze: str) -> list[list[str]]:
    """The stages that are trained besides the new output layer, from the input to the output.

    Args:
        depths: Of `find_depths`.
        unfreeze: "head" for none, "last-stage", a number of stages counted from the output, or "all".

    Raises:
        UsageError: It is none of these, or a number larger than the network has stages.
    """
    counts = {HEAD: 0, LAST_STAGE: 1, ALL: len(depths)}
    if unfreeze in counts:
        return depths[len(depths) - counts[unfreeze] :]
    count = whole_number(unfreeze, len(depths))
    if count is None:
        raise UsageError(
            f"--unfreeze {unfreeze}: write head, last-stage, all, or a number of stages up to {len(depths)}, which is "
            "how many this network has"
        )
    return depths[len(depths) - count :]


def train_only(network: nn.Module, parameters: set[str], *, statistics: bool) -> None:
    """Freezes a network but for some parameters.

    Frozen parts stay in eval mode: they drop nothing, and their statistics of batches do not move.

    Args:
        network: Changed in place.
        parameters: Names of those that are trained.
        statistics: Whether batch normalisation beside trained parameters learns the statistics of the new pages too.
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in parameters)
    _set_mode(network, statistics=statistics, around=False)


def _set_mode(module: nn.Module, *, statistics: bool, around: bool) -> None:
    parameters = list(module.parameters())
    trained = all(parameter.requires_grad for parameter in parameters) if parameters else around
    module.training = trained and (statistics or not isinstance(module, nn.modules.batchnorm._BatchNorm))  # noqa: SLF001 - the base of all
    for child in module.children():
        _set_mode(child, statistics=statistics, around=trained)


def set_drop_path(network: nn.Module, rate: float) -> int:
    """Lets blocks be skipped at random in training (stochastic depth; Huang et al., 2016, arXiv:1603.09382).

    The rate grows from the first block to `rate` at the last.

    Returns:
        How many blocks can be skipped; 0 for networks that are not built for it.
    """
    places = [
        (module, name)
        for module in network.modules()
        for name, child in [*module._modules.items(), *vars(module).items()]  # noqa: SLF001 - None is no child
        if (name in _DROP_PATHS and isinstance(child, nn.Identity | DropPath | None))
        or isinstance(child, StochasticDepth)
    ]
    for place, (module, name) in enumerate(places, 1):
        share = rate * place / len(places)
        torchvisions = isinstance(getattr(module, name), StochasticDepth)
        drop = StochasticDepth(share, "row") if torchvisions else DropPath(share)
        setattr(module, name, drop.train(module.training))
    return len(places)
