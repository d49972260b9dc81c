#!/usr/bin/env python3
"""PyTorch's exports, run and trained by the command beside PyTorch itself: onnx_exports.py LATHE [--all] [--only TEXT] [--work DIR].

Each network has random weights and is exported with an open batch by both exporters (TorchScript, and dynamo where onnxscript is
there). A row says: the largest difference from PyTorch's results over their largest, whether batches of 1, 2 and 7 give the same
bits for the same image, what `lathe check` says, and, exported as docs/onnx.md says for training, the largest difference of the
loss in 20 steps of SGD. --all takes networks of torchvision and timm as well, of which only the results are compared. Needs torch,
onnx and NumPy; onnxscript, torchvision and timm are used where they are there. Exit: 1 when something is off."""
import argparse, contextlib, io, json, logging, os, re, subprocess, sys, tempfile, time, warnings
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)
torch.set_num_threads(1)
LIMIT, LIMIT_LOSS = 1e-4, 1e-3


# ---- networks ----------------------------------------------------------------------------------------------------------------------

def conv_bn(a, b, k=3, stride=1, groups=1, act=nn.ReLU):
    return nn.Sequential(nn.Conv2d(a, b, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(b), act())


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
    return nn.Sequential(conv_bn(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


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
    return nn.Sequential(*layers, conv_bn(320, 1280, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.0), nn.Linear(1280, 10))


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


NETS = {  # name: module, shape of one image, the loss that it is trained with
    "ResNet-18": (resnet18, (3, 64, 64), "cross_entropy"),
    "MobileNetV2": (mobilenet_v2, (3, 64, 64), "cross_entropy"),
    "U-Net": (UNet, (3, 32, 32), "mse"),
    "ConvNeXt block": (ConvNeXt, (3, 32, 32), "cross_entropy"),
    "ESPCN (x3)": (espcn, (1, 24, 24), "mse"),
    "ViT": (ViT, (3, 32, 32), "cross_entropy"),
}
TORCHVISION = """alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet1_0 mobilenet_v2
mobilenet_v3_large mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet34 resnet50 resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0
squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vgg16 vit_b_16 wide_resnet50_2""".split()
TIMM = """beit_base_patch16_224 cait_xxs24_224 coat_tiny coatnet_0_rw_224 convit_tiny convmixer_768_32 convnextv2_atto crossvit_tiny_240 cspdarknet53 cspresnet50
darknet53 davit_tiny deit_tiny_patch16_224 densenet121 dla34 dpn68 eca_resnet33ts edgenext_xx_small efficientformer_l1 efficientnet_lite0 efficientvit_b0
fastvit_t8 fbnetc_100 gernet_s ghostnet_100 hardcorenas_a hgnet_tiny hrnet_w18_small inception_next_tiny inception_resnet_v2 inception_v4 lcnet_050
levit_128s mixer_s32_224 mobilenetv4_conv_small mobileone_s0 mobilevit_xxs mobilevitv2_050 nfnet_l0 pit_ti_224 poolformer_s12 pvt_v2_b0 regnetz_b16
repvgg_a0 res2net50_26w_4s resmlp_12_224 resnest14d rexnet_100 selecsls42b semnasnet_075 seresnet18 skresnet18 spnasnet_100 tinynet_e tiny_vit_5m_224
tresnet_m twins_svt_small vit_tiny_patch16_224 visformer_tiny volo_d1_224 vovnet39a xception41 xcit_nano_12_p16_224""".split()


def more_nets():
    """Other people's networks, results only: size from timm's own settings, 64 where a network takes any."""
    try:
        import torchvision
        for n in TORCHVISION:
            size = 224 if re.search("vit|swin", n) else 96 if "inception" in n else 64
            args = {"aux_logits": False, "init_weights": False} if n in ("googlenet", "inception_v3") else {}
            yield f"torchvision {n}", (lambda n=n, args=args: getattr(torchvision.models, n)(weights=None, **args)), (3, size, size)
        for n in ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]:
            yield f"torchvision {n}", (lambda n=n: First(getattr(torchvision.models.segmentation, n)(weights=None, weights_backbone=None))), (3, 64, 64)
    except ImportError:
        pass
    try:
        import timm
        for n in TIMM:
            size = timm.get_pretrained_cfg(n).input_size
            yield f"timm {n}", (lambda n=n: timm.create_model(n, pretrained=False)), tuple(size)
    except ImportError:
        pass


class First(nn.Module):  # of a dictionary of results
    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        return self.of(x)["out"]


# ---- exports -----------------------------------------------------------------------------------------------------------------------

def export(net, x, path, exporter, training=False):
    net.train(training)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if exporter == "dynamo":
            kind = {"optimize": False} if training else {}
            torch.onnx.export(net.eval(), (x,), path, dynamo=True, input_names=["x"], output_names=["y"],
                              dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False, **kind)
        else:
            kind = {"training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False} if training else {}
            torch.onnx.export(net, (x,), path, dynamo=False, input_names=["x"], output_names=["y"], opset_version=17,
                              dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, **kind)


class Refused(Exception):
    pass


def lathe(o, *args, cwd, seconds=600):
    p = subprocess.run([o.lathe, *map(str, args)], capture_output=True, text=True, timeout=seconds, cwd=cwd)
    if p.returncode:
        raise Refused((p.stderr + p.stdout).strip()[:500])
    return p.stdout


def results(o, work, x):
    np.save(f"{work}/x.npy", x)
    lathe(o, "run", "m.onnx", "--batch", len(x), "--input", "x=x.npy", "--output-dir", "out", cwd=work)
    return np.load(f"{work}/out/y.npy")


def off(a, b):
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def randomize(net):
    """Running statistics that are not 0 and 1, biases that are not 0."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, 0, 0.1), nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.uniform_(m.weight, 0.5, 1.5), nn.init.normal_(m.bias, 0, 0.1)
    return net


def compare_training(o, work, make, shape, loss, exporter, steps=20, batch=8):
    torch.manual_seed(3)
    net, x = make(), torch.randn(batch * 4, *shape)
    with torch.no_grad():
        y = net.eval()(x)
    labels = torch.randint(0, y.shape[1], (len(x),)) if loss == "cross_entropy" else torch.randn_like(y)
    export(net, x[:2], f"{work}/train.onnx", exporter, training=True)
    np.save(f"{work}/tx.npy", x.numpy()), np.save(f"{work}/ty.npy", labels.numpy())
    lathe(o, "train", "train.onnx", "--batch", batch, "--data", "tx.npy", "--labels", "ty.npy", "--loss", loss, "--lr", 0.01, "--steps", steps,
          "--no-shuffle", "--log", "log.jsonl", cwd=work)
    ours = [json.loads(line)["loss"] for line in open(f"{work}/log.jsonl")]
    net.train()
    sgd, theirs = torch.optim.SGD(net.parameters(), lr=0.01), []
    for i in range(steps):
        at = slice(i % 4 * batch, (i % 4 + 1) * batch)
        value = (F.cross_entropy if loss == "cross_entropy" else F.mse_loss)(net(x[at]), labels[at])
        sgd.zero_grad(), value.backward(), sgd.step()
        theirs.append(value.item())
    return max(abs(a - b) for a, b in zip(ours, theirs))


def row(o, name, make, shape, loss, exporter):
    found, bad = [], False
    with tempfile.TemporaryDirectory(dir=o.work) as work:
        try:
            torch.manual_seed(1)
            net = randomize(make()).eval()
            x = torch.randn(7, *shape)
            export(net, x[:2], f"{work}/m.onnx", exporter)
            with torch.no_grad():
                want = net(x[:2]).numpy()
            y = {n: results(o, work, x[:n].numpy()) for n in ((1, 2, 7) if loss else (2,))}
            d = off(y[2], want)
            bad |= not d <= LIMIT
            found.append(f"{d:.0e}")
            if loss:
                same = (y[1] == y[2][:1]).all() and (y[2] == y[7][:2]).all()
                said = lathe(o, "check", "m.onnx", "--batch", 1, cwd=work)
                d = compare_training(o, work, make, shape, loss, exporter)
                bad |= not same or not d <= LIMIT_LOSS
                found += ["same bits" if same else "DIFFERENT BITS", f"{len(re.findall('^ok', said, re.M))} points", f"{d:.0e}"]
        except Refused as e:
            found, bad = found + [f"FAILED: {e}"], True
        except Exception as e:  # noqa: BLE001: an exporter that fails says nothing of us
            found.append(f"no export or no result of PyTorch's: {type(e).__name__}: {str(e).strip()[:150]}")
    print(f"| {name} | {exporter} | " + " | ".join(found) + " |", flush=True)
    return bad


def main():
    a = argparse.ArgumentParser()
    a.add_argument("lathe", type=os.path.abspath)
    a.add_argument("--all", action="store_true")
    a.add_argument("--only", default="")
    a.add_argument("--exporter", default="")
    a.add_argument("--work", default=tempfile.gettempdir())
    o = a.parse_args()
    exporters = ["TorchScript", "dynamo"]
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        exporters = ["TorchScript"]
    print("| network | exporter | results | batches 1, 2, 7 | check | loss in 20 steps |\n|---|---|---|---|---|---|")
    bad = rows = 0
    nets = [(n, *v) for n, v in NETS.items()] + [(n, m, s, None) for n, m, s in (more_nets() if o.all else [])]
    for name, make, shape, loss in nets:
        for exporter in exporters:
            if o.only in name and o.exporter in exporter:
                rows += 1
                bad += row(o, name, make, shape, loss, exporter)
    print(f"{rows} exports, {bad} off")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
