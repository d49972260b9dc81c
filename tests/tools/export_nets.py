"""Networks for onnx_exports.py: six that it trains (NETS), and those of torchvision and timm, with random weights."""
import re
import torch
from torch import nn
import torch.nn.functional as F

def conv_bn(a, b, k=3, stride=1, groups=1, act=nn.ReLU):
    return nn.Sequential(nn.Conv2d(a, b, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(b), act())


def initialized(net):
    """Filters of length about 1 (He et al. 2015): behind batch normalisation a gradient grows as its filter is small."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
    return net


class Basic(nn.Module):  # ResNet-18's block
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.short = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)) if stride > 1 or a != b else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.short(x))


def resnet18():
    blocks = [Basic(a, b, s) for a, b, s in [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]]
    return initialized(nn.Sequential(conv_bn(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)))


class Inverted(nn.Module):  # MobileNetV2's block
    def __init__(self, a, b, stride, t):
        super().__init__()
        wide = [] if t == 1 else [conv_bn(a, a * t, 1, act=nn.ReLU6)]
        self.body = nn.Sequential(*wide, conv_bn(a * t, a * t, 3, stride, a * t, nn.ReLU6), nn.Conv2d(a * t, b, 1, bias=False), nn.BatchNorm2d(b))
        self.same = stride == 1 and a == b

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


def mobilenet_v2():
    layers, a = [conv_bn(3, 32, 3, 2, act=nn.ReLU6)], 32
    for t, c, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(n):
            layers.append(Inverted(a, c, s if i == 0 else 1, t))
            a = c
    return initialized(nn.Sequential(*layers, conv_bn(320, 1280, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.0), nn.Linear(1280, 10)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        block = lambda a, b: nn.Sequential(conv_bn(a, b), conv_bn(b, b))
        self.down1, self.down2, self.middle = block(3, 16), block(16, 32), block(32, 64)
        self.up2, self.join2 = nn.ConvTranspose2d(64, 32, 2, 2), block(64, 32)
        self.up1, self.join1 = nn.ConvTranspose2d(32, 16, 2, 2), block(32, 16)
        self.last = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        b = self.join2(torch.cat([self.up2(c), b], 1))
        return self.last(self.join1(torch.cat([self.up1(b), a], 1)))


class ConvNeXt(nn.Module):
    def __init__(self, c=32):
        super().__init__()
        self.stem, self.dw = nn.Conv2d(3, c, 4, 4), nn.Conv2d(c, c, 7, padding=3, groups=c)
        self.norm, self.wide, self.narrow = nn.LayerNorm(c, eps=1e-6), nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.scale, self.head = nn.Parameter(0.1 * torch.ones(c)), nn.Linear(c, 10)

    def forward(self, x):
        x = self.stem(x)
        h = self.narrow(F.gelu(self.wide(self.norm(self.dw(x).permute(0, 2, 3, 1)))))
        return self.head((x + (self.scale * h).permute(0, 3, 1, 2)).mean([2, 3]))


def espcn():
    return nn.Sequential(nn.Conv2d(1, 64, 5, padding=2), nn.Tanh(), nn.Conv2d(64, 32, 3, padding=1), nn.Tanh(), nn.Conv2d(32, 9, 3, padding=1), nn.PixelShuffle(3))


class Block(nn.Module):
    def __init__(self, c, heads):
        super().__init__()
        self.n1, self.n2, self.heads = nn.LayerNorm(c), nn.LayerNorm(c), heads
        self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)
        self.mlp = nn.Sequential(nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(self.n1(x)).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c))
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self, c=64, patch=8, size=32):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, c, patch, patch), nn.Parameter(torch.randn(1, 1, c) * 0.02)
        self.place = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, c) * 0.02)
        self.blocks, self.norm, self.head = nn.Sequential(Block(c, 4), Block(c, 4)), nn.LayerNorm(c), nn.Linear(c, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


NETS = {  # name: module, shape of one image, the loss that it is trained with, rate, batch (onnx_exports.py says why)
    "ResNet-18": (resnet18, (3, 64, 64), "cross_entropy", 3e-4, 8),
    "MobileNetV2": (mobilenet_v2, (3, 64, 64), "cross_entropy", 3e-5, 16),
    "U-Net": (UNet, (3, 32, 32), "mse", 1e-2, 8),
    "ConvNeXt block": (ConvNeXt, (3, 32, 32), "cross_entropy", 1e-2, 8),
    "ESPCN (x3)": (espcn, (1, 24, 24), "mse", 1e-2, 8),
    "ViT": (ViT, (3, 32, 32), "cross_entropy", 1e-2, 8),
}

# ---- other people's ----------------------------------------------------------------------------------------------------------------

CLASSIFIERS = """alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2
mobilenet_v3_large mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x0_5
squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vit_b_16 wide_resnet50_2""".split()
SEGMENTERS = "fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large".split()
VIDEO = "r3d_18 mc3_18 r2plus1d_18 s3d mvit_v1_b mvit_v2_s swin3d_t".split()
TIMM = """beit_base_patch16_224 cait_xxs24_224 coat_tiny coatnet_0_rw_224 convit_tiny convmixer_768_32 convnextv2_atto crossvit_tiny_240 cspdarknet53 cspresnet50
darknet17 davit_tiny deit_tiny_patch16_224 deit3_small_patch16_224 dla34 dpn48b eca_resnet33ts edgenext_xx_small efficientformer_l1 efficientformerv2_s0
efficientnet_lite0 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 fbnetc_100 focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_100 ghostnetv2_100 gmixer_24_224 gmlp_ti16_224
halonet26t hardcorenas_a hgnetv2_b0 hiera_tiny_224 hrnet_w18_small inception_next_tiny inception_v4 lambda_resnet26t lcnet_050
levit_128s mambaout_femto maxvit_rmlp_pico_rw_256 mixer_s32_224 mixnet_s mobilenetv1_100 mobilenetv4_conv_small mobilenetv4_hybrid_medium mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nf_regnet_b0 nfnet_l0
pit_ti_224 poolformer_s12 pvt_v2_b0 regnetx_002 regnety_002 regnetz_005 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_14w_8s resmlp_12_224 resnest14d resnetv2_50 rexnet_100
selecsls42b semnasnet_075 sequencer2d_s seresnet18 shvit_s1 skresnet18 spnasnet_100 starnet_s1 swiftformer_xs swinv2_cr_tiny_224 tinynet_e tiny_vit_5m_224 tnt_s_patch16_224
tresnet_m twins_svt_small vit_tiny_patch16_224 vitamin_small_224 visformer_tiny volo_d1_224 vovnet39a xception41 xcit_nano_12_p16_224""".split()


class First(nn.Module):
    """Of a dictionary of results; or the last of a list of them."""

    def __init__(self, of, which, **more):
        super().__init__()
        self.of, self.which, self.more = of, which, more

    def forward(self, *x):
        return self.of(*x, **self.more)[self.which]


def torchvision_nets():
    from torchvision import models
    for n in CLASSIFIERS:
        size = 224 if re.search("vit|swin|vgg|alexnet", n) else 96 if "inception" in n else 64
        args = {"aux_logits": False, "init_weights": False} if n in ("googlenet", "inception_v3") else {}
        yield f"torchvision {n}", (lambda n=n, args=args: getattr(models, n)(weights=None, **args)), (3, size, size)
    for n in SEGMENTERS:
        yield f"torchvision {n}", (lambda n=n: First(getattr(models.segmentation, n)(weights=None, weights_backbone=None), "out")), (3, 64, 64)
    for n in VIDEO:
        shape = (3, 16, 224, 224) if "mvit" in n else (3, 16, 224, 224) if n == "s3d" else (3, 4, 64, 64)
        yield f"torchvision {n}", (lambda n=n: getattr(models.video, n)(weights=None)), shape
    yield "torchvision raft_small", (lambda: First(models.optical_flow.raft_small(weights=None), -1, num_flow_updates=2)), [(3, 128, 128), (3, 128, 128)]


def timm_nets():
    """Of timm's own size where a network asks for it, else 64 (96 where it makes much smaller images of them)."""
    import timm
    for n in TIMM:
        settings = timm.get_pretrained_cfg(n)
        size = settings.input_size if settings.fixed_input_size else (3, 96, 96)
        yield f"timm {n}", (lambda n=n: timm.create_model(n, pretrained=False)), tuple(size)


def others():
    for nets in (torchvision_nets, timm_nets):
        try:
            yield from nets()
        except ImportError:
            pass
