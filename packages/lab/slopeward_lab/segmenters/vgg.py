"""The VGG-16 trunk (Simonyan and Zisserman 2015) that SegNet, FCN-8s and DeepLabv2 stand on."""

from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit, scale_width

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)


def make_stages(
    in_channels: int, width: float, *, normalised: bool, last_dilation: int = 1
) -> tuple[nn.ModuleList, list[int]]:
    """Make the five stages of 3 x 3 convolutions, without the poolings between them.

    Args:
        normalised: batch normalisation behind each convolution, else a bias and none.
        last_dilation: dilation of the fifth stage.

    Returns the stages, and the channels that each gives.
    """
    stages, widths, channels = nn.ModuleList(), [scale_width(each, width) for each in WIDTHS], in_channels
    for number, (out_channels, count) in enumerate(zip(widths, CONVOLUTIONS, strict=True)):
        stage, dilation = nn.Sequential(), last_dilation if number == len(widths) - 1 else 1
        for _ in range(count):
            if normalised:
                stage.append(ConvUnit(channels, out_channels, dilation=dilation))
            else:
                stage.append(nn.Conv2d(channels, out_channels, 3, padding=dilation, dilation=dilation))
                stage.append(nn.ReLU(inplace=True))
            channels = out_channels
        stages.append(stage)
    return stages, widths
