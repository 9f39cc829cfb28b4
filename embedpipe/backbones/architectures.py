"""Networks of the literature that no library has weights for, ours to train on pages: LeNet-5 and ZFNet."""

from torch import Tensor, nn
from torch.nn import functional

PAGE_MEAN, PAGE_STD = 0.95, 0.2
"""Of the pixels of pages on a 0..1 scale, rounded: mostly white paper.

They centre the input near 0 with a variance near 1, which LeCun et al. (1998, II-B) chose to speed up the learning.
"""


class LeNet5(nn.Module):
    """LeNet-5 as drawn in LeCun et al. (1998), "Gradient-based learning applied to document recognition", fig. 2.

    Layers, widths, 5x5 filters, averaging and the hyperbolic tangent are those of the paper. Three things are of
    today: pages come in larger than 32x32, and S4 averages whatever is left to the paper's 5x5; C3 sees all maps of S2
    instead of a hand-made choice of them; the output layer is linear. With ten classes it has 61,706 weights. It sees
    grey only.

    Args:
        num_classes: Width of the output layer.
    """

    image_size = 128
    """Pixels of both sides: columns, headings and tables can be distinguished; letters cannot."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.s4 = nn.AdaptiveAvgPool2d(5)
        self.c5 = nn.Linear(16 * 5 * 5, 120)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, num_classes)
        for module in (self.c1, self.c3, self.c5, self.f6):
            nn.init.xavier_uniform_(module.weight, gain=nn.init.calculate_gain("tanh"))
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Scores (n, num_classes) of normalised images (n, 3, H, W)."""
        grey = images.mean(1, keepdim=True)
        x = self.s2(functional.tanh(self.c1(grey)))
        x = self.s4(functional.tanh(self.c3(x))).flatten(1)
        x = functional.tanh(self.f6(functional.tanh(self.c5(x))))
        scores: Tensor = self.output(x)
        return scores


class ZFNet(nn.Module):
    """ZFNet of Zeiler & Fergus (2013), "Visualizing and understanding convolutional networks", fig. 3 and table 2.

    AlexNet with 7x7 first filters of stride 2 instead of 11x11 of stride 4, and with the wider middle layers (512,
    1024, 512 maps) of the paper's best single network. Random weights are drawn after He et al. (2015) and not with
    the paper's deviation of 0.01, with which so deep a network learns hardly anything from few pages.

    Args:
        num_classes: Width of the output layer.
        dropout: Share of the outputs of the fully connected layers that training leaves out; the paper's is 0.5.
    """

    image_size = 224
    """Pixels of both sides; the fully connected layers take no other size."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.layer1 = _stage(nn.Conv2d(3, 96, 7, stride=2, padding=1), nn.LocalResponseNorm(5))
        self.layer2 = _stage(nn.Conv2d(96, 256, 5, stride=2), nn.LocalResponseNorm(5))
        self.layer3 = nn.Sequential(nn.Conv2d(256, 512, 3, padding=1), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU())
        self.layer5 = nn.Sequential(nn.Conv2d(1024, 512, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.layer6 = nn.Sequential(nn.Linear(512 * 6 * 6, 4096), nn.ReLU(), nn.Dropout(dropout))
        self.layer7 = nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(dropout))
        self.output = nn.Linear(4096, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module is not self.output:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Scores (n, num_classes) of normalised images (n, 3, 224, 224)."""
        x = self.layer5(self.layer4(self.layer3(self.layer2(self.layer1(images)))))
        scores: Tensor = self.output(self.layer7(self.layer6(x.flatten(1))))
        return scores


def _stage(convolution: nn.Conv2d, norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), norm)
