"""Stages of networks, and what is trained of them."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from embedpipe.backbones.building import remove_classifier
from embedpipe.core.errors import EmbedpipeError
from embedpipe.finetuning.unfreezing import find_depths, set_drop_path, train_only, trained_depths


def network(name: str) -> nn.Module:
    """A network without its output layer."""
    options = {"init_weights": False} if name == "googlenet" else {}
    if name.startswith("timm:"):
        made = timm.create_model(name[5:])
    else:
        made = torchvision.models.get_model(name, weights=None, **options)
    remove_classifier(made)
    return made.eval()


@pytest.mark.parametrize(
    ("name", "size", "stages", "last"),
    [
        ("timm:test_resnet", 64, 5, ("layer4.0.conv1.weight", "layer4.0.downsample.2.bias")),
        ("timm:tf_efficientnet_lite0", 128, 5, ("blocks.5.0.conv_pw.weight", "bn2.bias")),
        ("resnet18", 128, 5, ("layer4.0.conv1.weight", "layer4.1.bn2.bias")),
        ("alexnet", 224, 5, ("classifier.4.weight", "classifier.4.bias")),
        ("mobilenet_v3_small", 128, 6, ("classifier.0.weight", "classifier.0.bias")),
        ("timm:test_vit", 160, 7, ("blocks.5.norm1.weight", "norm.bias")),
        ("googlenet", 128, 5, ("inception5a.branch1.conv.weight", "aux2.fc2.bias")),
    ],
)
def test_stages_are_those_of_the_literature(name: str, size: int, stages: int, last: tuple[str, str]) -> None:
    """Maps of one size, fully connected layers, and blocks of transformers are stages; every parameter is in one."""
    made = network(name)
    depths = find_depths(made, size)
    assert sorted(own for names in depths for own in names) == sorted(own for own, _ in made.named_parameters())
    assert len(depths) == stages
    assert (depths[-1][0], depths[-1][-1]) == last


def test_what_is_unfrozen_counts_from_the_output() -> None:
    """`head` trains no stage, `last-stage` one, a number so many, `all` all; anything else is refused."""
    depths = [["a"], ["b"], ["c"]]
    chosen = {unfreeze: trained_depths(depths, unfreeze) for unfreeze in ("head", "last-stage", "2", "3", "all")}
    assert chosen == {"head": [], "last-stage": [["c"]], "2": [["b"], ["c"]], "3": depths, "all": depths}
    for wrong in ("4", "-1", "some", ""):
        with pytest.raises(EmbedpipeError, match="up to 3"):
            trained_depths(depths, wrong)


@pytest.mark.parametrize("statistics", [True, False])
def test_frozen_parts_do_not_move(statistics: bool) -> None:
    """A step changes nothing that is frozen, not even the statistics of batches; those beside it only if wanted."""
    made = network("timm:test_resnet")
    names = set(find_depths(made, 64)[-1])
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    train_only(made, names, statistics=statistics)
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=1.0)
    for _ in range(3):  # the last scale of each block begins with 0, and holds the gradient of the others back
        made(torch.rand((4, 3, 64, 64))).square().mean().backward()
        optimizer.step()
    changed = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, before[name])}
    assert names <= changed
    assert all(name.startswith("layer4.") for name in changed)
    assert any("running_mean" in name for name in changed) == statistics


@pytest.mark.parametrize(("name", "blocks"), [("timm:test_resnet", 4), ("timm:test_vit", 12), ("efficientnet_b0", 16)])
def test_blocks_are_skipped_in_training_only(name: str, blocks: int) -> None:
    """Networks of both libraries can drop paths; in eval mode they give what they gave before."""
    made = network(name)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm's residual networks begin with branches that give nothing
    size = 160 if "vit" in name else 64
    pages = torch.rand((2, 3, size, size))
    with torch.inference_mode():
        before = made(pages)
        assert set_drop_path(made, 0.9) == blocks
        torch.testing.assert_close(made(pages), before)
        made.train()
        for module in made.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout):
                module.eval()
        runs = [made(pages) for _ in range(4)]
    assert any(not torch.equal(run, runs[0]) for run in runs)


def test_networks_without_shortcuts_drop_no_paths() -> None:
    """AlexNet has none, and is left as it is."""
    assert set_drop_path(network("alexnet"), 0.5) == 0
