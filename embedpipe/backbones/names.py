"""Names of backbones: one network, a list of them joined by `+`, or a preset that stands for a list."""

from embedpipe.core.errors import UsageError

JOIN = "+"

PRESETS = {"documents": "efficientnet_lite0+pplcnet_doc"}
"""Lists under one word, as they were measured to be the best trade; see docs/backbones.md."""

ORIENTATION = "pplcnet_doc"
"""The network that tells which way up a page is."""

NO_WEIGHTS = "none"
"""`--weights none` asks for random weights; nothing else ever gives them."""

NEVER, AUTO = UPRIGHT = ("never", "auto")
"""Whether pages are turned upright: as they are, or scans and photos that lie sideways or upside down are turned."""


def members(name: str) -> tuple[str, ...]:
    """The networks of a name, in order; of a single network, its name.

    Raises:
        UsageError: A name is missing between two `+`, or a network comes twice.
    """
    parts = [inner.strip() for part in name.split(JOIN) for inner in PRESETS.get(part.strip(), part).split(JOIN)]
    if not all(parts):
        raise UsageError(f"--backbone {name}: write the names of networks, joined by {JOIN}, such as a{JOIN}b")
    repeated = next((part for part in parts if parts.count(part) > 1), None)
    if repeated:
        raise UsageError(f"--backbone {name}: {repeated} is in it twice")
    return tuple(parts)


def full_name(name: str) -> str:
    """A name with presets written out, as identities have it; raises UsageError as `members`."""
    return JOIN.join(members(name))


def is_list(name: str) -> bool:
    """Whether a name stands for more than one network."""
    return JOIN in name or name in PRESETS


def one_name(name: str, purpose: str) -> str:
    """The name of one network; raises UsageError for a list, which cannot be used for the purpose."""
    if is_list(name):
        raise UsageError(
            f"--backbone {name} is a list of networks: {purpose} takes one of them, such as {members(name)[0]}"
        )
    return name


def upright_by_default(name: str) -> str:
    """`AUTO` where the network that tells which way up pages are is one of the list, and so is there; else `NEVER`."""
    return AUTO if ORIENTATION in members(name) else NEVER
