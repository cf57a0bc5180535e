"""fast.ai's wide ResNet for CIFAR (old/fastai/models/cifar10/wideresnet.py), which its article calls WRN-22."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """y = x' + 0.2 conv(relu(bn(conv(relu(bn(x)))))), where x' is relu(bn(x)), through a 1 x 1 convolution where the
    widths differ. In the textbook's block x' is x, and nothing is damped."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """[n, outputs, height / stride, width / stride] of features [n, inputs, height, width]."""
        entering = F.relu(self.bn1(features))
        residual = self.conv2(F.relu(self.bn2(self.conv1(entering))))
        return 0.2 * residual + self.shortcut(entering)


class WideResNet(nn.Module):
    """Three groups of `depth` blocks, 16, 32 and 64 times `widening` wide; the second and the third halve the
    resolution. The mean over all positions goes into one linear layer."""

    def __init__(self, channels: int, num_classes: int, depth: int = 3, widening: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        blocks, inputs = [], 16
        for group, base in enumerate((16, 32, 64)):
            for place in range(depth):
                outputs = base * widening
                blocks.append(Block(inputs, outputs, stride=2 if group and place == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, height, width]."""
        features = F.relu(self.norm(self.blocks(self.stem(images))))
        return self.head(features.mean((2, 3)))
