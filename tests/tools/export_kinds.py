"""Small networks of the kinds that people write themselves, one or two blocks each, for onnx_exports.py: every way of PyTorch's
to say a thing that its exporters turn into other nodes. KINDS has name: module, what goes in."""
import math
import torch
from torch import nn
import torch.nn.functional as F
from export_nets import Block, conv_bn


class Ids:
    """An input of integers below `below`."""

    def __init__(self, shape, below):
        self.shape, self.below = shape, below


class Of(nn.Module):
    """A function of some modules: Of(lambda m, x: m.a(x), a=nn.Linear(3, 4))."""

    def __init__(self, does, **parts):
        super().__init__()
        self.does = does
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x):
        return self.does(self, *x)


def conv(a, b, k=3, s=1, **more):
    return nn.Conv2d(a, b, k, s, k // 2, **more)


# ---- sequences ---------------------------------------------------------------------------------------------------------------------

def recurrent(kind, **more):
    return lambda: Of(lambda m, x: m.head(m.rnn(x)[0][:, -1]), rnn=kind(12, 20, batch_first=True, **more),
                      head=nn.Linear(40 if more.get("bidirectional") else 20, 5))


def crnn():  # text in a picture: columns are steps, CTC's log probabilities
    body = nn.Sequential(conv_bn(1, 16), nn.MaxPool2d(2), conv_bn(16, 32), nn.MaxPool2d((4, 2)), conv_bn(32, 32), nn.MaxPool2d((4, 1)))
    return Of(lambda m, x: F.log_softmax(m.head(m.rnn(m.body(x).squeeze(2).permute(0, 2, 1))[0]), -1).transpose(0, 1).permute(1, 0, 2),
              body=body, rnn=nn.LSTM(32, 24, batch_first=True, bidirectional=True), head=nn.Linear(48, 11))


def audio():  # wav2letter: gated convolutions along time
    return nn.Sequential(nn.Conv1d(1, 32, 9, 4, 4), nn.BatchNorm1d(32), nn.GLU(1), nn.Conv1d(16, 32, 5, 2, 2), nn.GLU(1), nn.MaxPool1d(2),
                         nn.Conv1d(16, 6, 1), nn.LogSoftmax(1))


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv1d(1, 8, 1), nn.Conv1d(8, 4, 1)
        self.dilated = nn.ModuleList(nn.Conv1d(8, 16, 2, dilation=2 ** i) for i in range(5))

    def forward(self, x):
        x, skips = self.first(x), 0
        for i, layer in enumerate(self.dilated):
            a, b = layer(F.pad(x, (2 ** i, 0))).chunk(2, 1)
            h = torch.tanh(a) * torch.sigmoid(b)
            x, skips = x + h, skips + h
        return self.last(F.relu(skips))


class ConvLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates, self.head = conv(3 + 8, 32), conv(8, 1)

    def forward(self, x):  # n, t, c, h, w
        h = c = torch.zeros_like(x[:, 0, :1]).repeat(1, 8, 1, 1)
        for t in range(3):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], 1)).split(8, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h)


def text_cnn():
    return Of(lambda m, i: m.head(torch.cat([m.a(m.e(i).transpose(1, 2)).relu().amax(2), m.b(m.e(i).transpose(1, 2)).relu().amax(2)], 1)),
              e=nn.Embedding(50, 16, padding_idx=0), a=nn.Conv1d(16, 12, 3), b=nn.Conv1d(16, 12, 5), head=nn.Linear(24, 4))


class GPT(nn.Module):
    def __init__(self, c=32, words=40):
        super().__init__()
        self.e, self.place, self.qkv = nn.Embedding(words, c), nn.Embedding(16, c), nn.Linear(c, 3 * c)
        self.n1, self.n2, self.out = nn.LayerNorm(c), nn.LayerNorm(c), nn.Linear(c, c)
        self.mlp = nn.Sequential(nn.Linear(c, 4 * c), nn.GELU("tanh"), nn.Linear(4 * c, c))

    def forward(self, ids):
        x = self.e(ids) + self.place(torch.arange(ids.shape[1]))
        q, k, v = [p.unflatten(-1, (4, -1)).transpose(1, 2) for p in self.qkv(self.n1(x)).chunk(3, -1)]
        later = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        s = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).masked_fill(later, float("-inf"))
        x = x + self.out((s.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return (x + self.mlp(self.n2(x))) @ self.e.weight.t()


class Llama(nn.Module):
    def __init__(self, c=32):
        super().__init__()
        self.e, self.norm = nn.Embedding(40, c), nn.Parameter(torch.ones(c))
        self.q, self.k, self.v, self.o = nn.Linear(c, c, False), nn.Linear(c, c // 2, False), nn.Linear(c, c // 2, False), nn.Linear(c, c, False)
        self.gate, self.up, self.down = nn.Linear(c, 64, False), nn.Linear(c, 64, False), nn.Linear(64, c, False)

    def rms(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.norm

    def forward(self, ids):
        x, t = self.e(ids), ids.shape[1]
        h = self.rms(x)
        q, k, v = [m(h).unflatten(-1, (-1, 8)).transpose(1, 2) for m in (self.q, self.k, self.v)]
        angle = torch.outer(torch.arange(t).float(), 100.0 ** (-torch.arange(0, 8, 2).float() / 8)).repeat(1, 2)
        turn = lambda z: z * angle.cos() + torch.cat([-z[..., 4:], z[..., :4]], -1) * angle.sin()
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        a = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).flatten(2))
        h = self.rms(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def encoder():
    return nn.Sequential(nn.TransformerEncoderLayer(24, 4, 48, batch_first=True), nn.TransformerEncoderLayer(24, 3, 48, batch_first=True, norm_first=True))


def cross_attention():
    return Of(lambda m, x, y: m.a(x, y, y, need_weights=False)[0], a=nn.MultiheadAttention(24, 4, batch_first=True))


# ---- pictures into pictures --------------------------------------------------------------------------------------------------------

class Resizes(nn.Module):
    WAYS = [dict(scale_factor=2, mode="nearest"), dict(scale_factor=1.5, mode="nearest"), dict(size=(11, 17), mode="nearest"),
            dict(scale_factor=2, mode="bilinear"), dict(size=(9, 21), mode="bilinear"), dict(size=(5, 7), mode="bilinear", align_corners=True),
            dict(scale_factor=2, mode="bicubic"), dict(size=(19, 15), mode="bicubic", align_corners=True), dict(scale_factor=0.5, mode="bilinear")]

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(conv(3, 2) for _ in self.WAYS)

    def forward(self, x):
        return tuple(F.interpolate(c(x), **way) for c, way in zip(self.convs, self.WAYS))


def pads():
    ways = ("reflect", "replicate", "circular", "constant")
    return Of(lambda m, x: tuple(m.c(F.pad(x, (2, 1, 1, 3), mode=way)) for way in ways), c=nn.Conv2d(3, 4, 3))


def padding_modes():
    return nn.Sequential(conv(3, 4, padding_mode="reflect"), conv(4, 4, padding_mode="replicate"), conv(4, 4, padding_mode="circular"))


def style():
    block = lambda a, b, s: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(a, b, 3, s), nn.InstanceNorm2d(b, affine=True), nn.ReLU())
    return nn.Sequential(block(3, 8, 1), block(8, 16, 2), nn.Upsample(scale_factor=2, mode="nearest"), block(16, 8, 1), nn.ReflectionPad2d(4), nn.Conv2d(8, 3, 9), nn.Sigmoid())


def dcgan():
    up = lambda a, b, s, p: nn.Sequential(nn.ConvTranspose2d(a, b, 4, s, p, bias=False), nn.BatchNorm2d(b), nn.ReLU())
    return nn.Sequential(up(20, 32, 1, 0), up(32, 16, 2, 1), up(16, 8, 2, 1), nn.ConvTranspose2d(8, 3, 3, 2, 1, output_padding=1), nn.Tanh())


def critic():
    return nn.Sequential(conv(3, 8, 5, 2), nn.LayerNorm([8, 16, 16]), nn.LeakyReLU(0.2), conv(8, 16, 5, 2), nn.LayerNorm([16, 8, 8]), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(1024, 1))


def autoencoder():
    def forward(m, x):
        mean, log_var = m.down(x).chunk(2, 1)
        return m.up(mean), mean, -0.5 * (1 + log_var - mean ** 2 - log_var.exp()).sum(1)
    down = nn.Sequential(conv(1, 8, 3, 2), nn.ELU(), conv(8, 8, 3, 2), nn.ELU(), nn.Flatten(), nn.Linear(392, 16))
    return Of(forward, down=down, up=nn.Sequential(nn.Linear(8, 392), nn.Unflatten(1, (8, 7, 7)), nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid()))


def segnet():
    def forward(m, x):
        y, at = F.max_pool2d(m.down(x), 2, return_indices=True)
        return m.up(F.max_unpool2d(m.middle(y), at, 2))
    return Of(forward, down=conv_bn(3, 8), middle=conv_bn(8, 8), up=conv(8, 4))


def edsr():
    return Of(lambda m, x: m.up(m.head(x) + m.body(m.head(x)) * 0.1) + F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False),
              head=conv(3, 16), body=nn.Sequential(conv(16, 16), nn.PReLU(16), conv(16, 16)), up=nn.Sequential(conv(16, 12), nn.PixelShuffle(2)))


def fsrcnn():
    return nn.Sequential(conv(1, 16, 5), nn.PReLU(16), conv(16, 8, 1), nn.PReLU(8), conv(8, 8), nn.PReLU(), conv(8, 16, 1), nn.PReLU(16),
                         nn.ConvTranspose2d(16, 1, 9, 3, 4, output_padding=2))


def dncnn():
    return Of(lambda m, x: x - m.body(x), body=nn.Sequential(conv(1, 16), nn.ReLU(), conv_bn(16, 16), conv_bn(16, 16), conv(16, 1)))


def shuffles():
    mix = lambda m, x: x.view(x.shape[0], 3, 6, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
    return nn.Sequential(nn.PixelUnshuffle(2), conv(12, 18), Of(mix), nn.PixelShuffle(3), conv(2, 1))


class Hourglass(nn.Module):
    def __init__(self, depth=3, c=8):
        super().__init__()
        self.skip, self.low = conv_bn(c, c), conv_bn(c, c)
        self.inner = Hourglass(depth - 1, c) if depth > 1 else conv_bn(c, c)

    def forward(self, x):
        low = self.inner(self.low(F.max_pool2d(x, 2)))
        return self.skip(x) + F.interpolate(low, size=x.shape[-2:], mode="nearest")


# ---- sampling and geometry ---------------------------------------------------------------------------------------------------------

def transformer_of_space(padding, corners=False, mode="bilinear"):
    def forward(m, x):
        theta = m.where(x).view(-1, 2, 3) * 0.1 + torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
        return m.last(F.grid_sample(x, F.affine_grid(theta, [x.shape[0], 3, 12, 12], corners), mode, padding, corners))
    return lambda: Of(forward, where=nn.Sequential(conv(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 6)), last=conv(3, 2))


def warp():
    return Of(lambda m, a, flow: m.last(F.grid_sample(a, torch.tanh(flow).permute(0, 2, 3, 1), padding_mode="border", align_corners=True)), last=conv(3, 3))


def unfold_fold():
    return Of(lambda m, x: F.fold(m.mix(F.unfold(x, 3, padding=1, stride=2).transpose(1, 2)).transpose(1, 2), (12, 12), 3, padding=1, stride=2), mix=nn.Linear(27, 18))


def coordinates():
    def forward(m, x):
        y, z = torch.meshgrid(torch.linspace(-1, 1, x.shape[2]), torch.linspace(-1, 1, x.shape[3]), indexing="ij")
        return m.c(torch.cat([x, torch.stack([y, z]).expand(x.shape[0], -1, -1, -1)], 1))
    return Of(forward, c=conv(5, 8))


def nerf():
    def forward(m, x):
        f = x[..., None] * 2.0 ** torch.arange(6)
        return m.body(torch.cat([f.sin(), f.cos()], -1).flatten(-2))
    return Of(forward, body=nn.Sequential(nn.Linear(36, 64), nn.ReLU(), nn.Linear(64, 4)))


def siren():
    return Of(lambda m, x: m.b(torch.sin(30 * m.a(x))), a=nn.Linear(2, 32), b=nn.Linear(32, 3))


def points():  # PointNet
    return Of(lambda m, x: m.head(m.body(x.transpose(1, 2)).max(2)[0]), head=nn.Linear(32, 4),
              body=nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 1)))


def graph():
    def forward(m, x, a):
        a = a.sigmoid() + torch.eye(a.shape[1])
        d = a.sum(-1).rsqrt()
        return m.w(d[:, :, None] * a * d[:, None] @ x).relu().mean(1)
    return Of(forward, w=nn.Linear(6, 8))


def edges():  # messages along edges that are known, added where they arrive
    source, target = torch.tensor([0, 1, 2, 3, 0, 2]), torch.tensor([1, 2, 3, 0, 2, 0])
    return Of(lambda m, x: torch.zeros_like(x).index_add(1, target, m.w(x[:, source])) + x, w=nn.Linear(6, 6))


# ---- detection and attention on images ---------------------------------------------------------------------------------------------

class Yolo(nn.Module):  # focus, CSP, SPPF, the head's boxes, without suppression
    def __init__(self, classes=3):
        super().__init__()
        self.focus, self.down, self.head = conv_bn(12, 16, act=nn.SiLU), conv_bn(16, 16, 3, 2, act=nn.SiLU), nn.Conv2d(32, 3 * (5 + classes), 1)
        self.a, self.b, self.sppf = conv_bn(16, 8, 1, act=nn.SiLU), conv_bn(16, 8, 1, act=nn.SiLU), conv_bn(64, 16, 1, act=nn.SiLU)
        self.register_buffer("anchors", torch.tensor([[10.0, 13], [16, 30], [33, 23]]).view(1, 3, 1, 1, 2))

    def forward(self, x):
        x = self.focus(torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1))
        y = self.down(x)
        p = [torch.cat([self.a(y), self.b(y)], 1)]
        for _ in range(3):
            p.append(F.max_pool2d(p[-1], 5, 1, 2))
        y = self.head(torch.cat([F.interpolate(self.sppf(torch.cat(p, 1)), scale_factor=2.0), x], 1))
        n, _, h, w = y.shape
        y = y.view(n, 3, 8, h, w).permute(0, 1, 3, 4, 2).sigmoid()
        v, u = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        xy = (y[..., :2] * 2 - 0.5 + torch.stack((u, v), 2).view(1, 1, h, w, 2)) * 4
        return torch.cat([xy, (y[..., 2:4] * 2) ** 2 * self.anchors, y[..., 4:]], -1).view(n, -1, 8)


def ssd():
    def forward(m, x):
        y = m.body(x)
        flat = lambda z, k: z.permute(0, 2, 3, 1).reshape(z.shape[0], -1, k)
        return flat(m.boxes(y), 4).mul(0.1).exp(), flat(m.classes(y), 5).softmax(-1)
    return Of(forward, body=nn.Sequential(conv_bn(3, 16, 3, 2), conv_bn(16, 16, 3, 2)), boxes=conv(16, 16), classes=conv(16, 20))


def centers():
    def forward(m, x):
        heat = m.c(x).sigmoid()
        best, at = (heat * (F.max_pool2d(heat, 3, 1, 1) == heat).float()).flatten(1).topk(5)
        return best, at % 16, torch.div(at, 16, rounding_mode="floor")
    return Of(forward, c=conv(3, 2))


class FPN(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(conv_bn(a, b, 3, 2) for a, b in [(3, 8), (8, 16), (16, 32)])
        self.side, self.smooth = nn.ModuleList(nn.Conv2d(c, 8, 1) for c in (8, 16, 32)), nn.ModuleList(conv(8, 8) for _ in range(3))
        self.w = nn.Parameter(torch.ones(2))

    def forward(self, x):
        levels = []
        for d, s in zip(self.down, self.side):
            x = d(x)
            levels.append(s(x))
        w = self.w.relu() / (self.w.relu().sum() + 1e-4)  # BiFPN's weights
        for i in (1, 0):
            levels[i] = w[0] * levels[i] + w[1] * F.interpolate(levels[i + 1], scale_factor=2, mode="nearest")
        return tuple(s(y) for s, y in zip(self.smooth, levels))


def cbam():
    def forward(m, x):
        x = x * torch.sigmoid(m.mlp(x.mean((2, 3))) + m.mlp(x.amax((2, 3))))[:, :, None, None]
        return x * torch.sigmoid(m.c(torch.cat([x.mean(1, True), x.max(1, True)[0]], 1)))
    return Of(forward, mlp=nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16)), c=conv(2, 1, 7))


def einsums():
    def forward(m, x):
        q, k, v = m.qkv(x).unflatten(-1, (3, 4, 6)).unbind(2)
        a = torch.einsum("bihd,bjhd->bhij", q, k).softmax(-1)
        return torch.einsum("bhij,bjhd->bihd", a, v).flatten(2), torch.einsum("bii->b", x @ x.transpose(1, 2)), torch.einsum("bi,bj,ij->b", x[:, 0], x[:, 1], m.w)
    return Of(forward, qkv=nn.Linear(10, 72), w=nn.Parameter(torch.randn(10, 10)))


def aspp():
    def forward(m, x):
        pooled = F.interpolate(m.pool(F.adaptive_avg_pool2d(x, 1)), size=x.shape[2:], mode="bilinear", align_corners=False)
        return m.last(torch.cat([b(x) for b in m.branches] + [pooled], 1))
    return Of(forward, branches=nn.ModuleList(nn.Conv2d(8, 8, 3, padding=r, dilation=r) for r in (1, 2, 5)), pool=nn.Conv2d(8, 8, 1), last=conv(32, 4))


def mixer():
    return Of(lambda m, x: x + m.b(x + m.a(x.transpose(1, 2)).transpose(1, 2)), a=nn.Sequential(nn.LayerNorm(9), nn.Linear(9, 18), nn.GELU(), nn.Linear(18, 9)), b=nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)))


def blurred():
    k = torch.tensor([1.0, 2, 1])
    return Of(lambda m, x: F.conv2d(F.pad(m.c(x), (1, 1, 1, 1), mode="reflect"), (torch.outer(k, k) / 16).expand(8, 1, 3, 3), stride=2, groups=8), c=conv(3, 8))


def windows():  # shifted windows, rolled
    def forward(m, x):
        n, c, h, w = x.shape
        y = torch.roll(x, (-2, -2), (2, 3)).view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        y = m.block(y).view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
        return torch.roll(y, (2, 2), (2, 3))
    return Of(forward, block=Block(16, 4))


# ---- ops -----------------------------------------------------------------------------------------------------------------------------

def activations():
    ways = [nn.ELU(0.7), nn.SELU(), nn.CELU(1.3), nn.GELU(), nn.GELU("tanh"), nn.Mish(), nn.Softplus(2), nn.Softsign(), nn.Hardtanh(-0.5, 0.7), nn.LogSigmoid(), nn.PReLU(),
            nn.LeakyReLU(0.1), nn.Hardshrink(0.3), nn.Softshrink(0.3), nn.Threshold(0, 0), nn.Hardswish(), nn.Hardsigmoid(), nn.SiLU(), nn.ReLU6(), nn.Tanhshrink(), nn.Softmin(1)]
    return Of(lambda m, x: torch.stack([way(x) for way in m.ways], 1), ways=nn.ModuleList(ways))


def norms():
    return nn.Sequential(conv(3, 8), nn.GroupNorm(4, 8), conv(8, 8), nn.InstanceNorm2d(8), nn.utils.parametrizations.weight_norm(conv(8, 8)), nn.RMSNorm(16), nn.LocalResponseNorm(3))


def pools():
    return Of(lambda m, x: (F.avg_pool2d(x, 3, 2, 1, ceil_mode=False), F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
                            F.max_pool2d(x, 5, 1, 2, dilation=2), F.lp_pool2d(x.abs() + 1, 2, 2), F.adaptive_avg_pool2d(x, (3, 4)), F.adaptive_max_pool2d(x, 2)))


def volume():
    return nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 8, 3, (1, 2, 2), 1, groups=4), nn.ReLU(), nn.AvgPool3d(2),
                         nn.ConvTranspose3d(8, 4, 2, 2), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))


def reductions():
    return Of(lambda m, x: (x.std(1), x.var(2, unbiased=False), x.norm(dim=1), x.abs().prod(2), x.logsumexp(1), x.cumsum(1), x.amin((1, 2)), x.argmax(1), F.normalize(x, dim=-1), F.cosine_similarity(x, x.flip(2), 1)))


def choosing():
    def forward(m, x):
        best, at = x.topk(3, 1)
        return best, x.gather(1, at), x[:, torch.tensor([0, 2, 5])], x.sort(1, descending=True)[0], torch.where(x > 0, x, x * 0.1), x.clamp(-0.5, 0.5), x.masked_fill(x < -1, 0), F.one_hot(at, 8).float().sum(1)
    return Of(forward)


def shapes():
    def forward(m, x):
        n, c, h, w = x.shape
        a = x.view(n, c // 2, 2, h * w).transpose(1, 2).contiguous().view(n, -1, h, w)
        return a[:, :, 1:-1, ::3], torch.stack(a.unbind(1)[::2], 1), a.repeat(1, 2, 1, 1), torch.tile(a.mean(3), (2,)), a.flip(2, 3), a.narrow(2, 1, 3), a.swapaxes(1, 3).squeeze(), a.movedim(1, 3).flatten(1, 2)
    return Of(forward)


def arithmetic():
    return Of(lambda m, x: (torch.exp(-x ** 2), torch.log1p(x.abs()), x.exp() - 1, x.erf(), x.round(), x.floor() + x.ceil() + x.trunc(), torch.remainder(x, 0.7), torch.fmod(x, 0.7), x.atan() + torch.atan2(x, x + 3),
                            x.sign() * x.abs().sqrt(), torch.maximum(x, x.flip(1)), torch.addmm(x, x, torch.ones(12, 12)) if x.ndim == 2 else x, x.sinh() + x.cosh() + x.asinh(), x.tan(), x.reciprocal(), torch.lerp(x, x * 2, 0.3)))


def capsules():
    def forward(m, x):
        u = m.c(x).view(x.shape[0], 8, -1).transpose(1, 2)
        s = (u ** 2).sum(-1, keepdim=True)
        return s / (1 + s) * u / (s.sqrt() + 1e-8)
    return Of(forward, c=nn.Conv2d(1, 32, 5, 2))


def siamese():
    body = nn.Sequential(conv(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(392, 16))
    return Of(lambda m, a, b: (F.pairwise_distance(m.body(a), m.body(b)), m.two((m.body(a) - m.body(b)).abs())), body=body, two=nn.Linear(16, 2))


def conditional():
    return Of(lambda m, x, label: m.body(torch.cat([x, m.e(label).view(-1, 1, 8, 8)], 1)), e=nn.Embedding(10, 64), body=nn.Sequential(conv(4, 8), nn.Dropout2d(), conv(8, 3)))


KINDS = {
    "LSTM, both ways": (recurrent(nn.LSTM, num_layers=2, bidirectional=True), (9, 12)),
    "GRU": (recurrent(nn.GRU, num_layers=2), (9, 12)), "RNN": (recurrent(nn.RNN), (9, 12)),
    "CRNN with CTC's head": (crnn, (1, 32, 40)), "wav2letter": (audio, (1, 160)), "WaveNet": (WaveNet, (1, 64)),
    "ConvLSTM": (ConvLSTM, (3, 3, 8, 8)), "TextCNN": (text_cnn, Ids((12,), 50)), "GPT block": (GPT, Ids((10,), 40)),
    "Llama block": (Llama, Ids((10,), 40)), "TransformerEncoder": (encoder, (7, 24)),
    "cross attention": (cross_attention, [(5, 24), (7, 24)]), "Resize": (Resizes, (3, 10, 14)), "Pad": (pads, (3, 9, 9)),
    "padding_mode": (padding_modes, (3, 9, 9)), "style transfer": (style, (3, 16, 16)), "DCGAN": (dcgan, (20, 1, 1)),
    "critic": (critic, (3, 32, 32)), "VAE": (autoencoder, (1, 28, 28)), "SegNet": (segnet, (3, 16, 16)),
    "EDSR": (edsr, (3, 12, 12)), "FSRCNN": (fsrcnn, (1, 12, 12)), "DnCNN": (dncnn, (1, 16, 16)),
    "PixelUnshuffle": (shuffles, (3, 12, 12)), "hourglass": (Hourglass, (8, 16, 16)),
    "grid_sample": (transformer_of_space("zeros"), (3, 16, 16)),
    "grid_sample, border": (transformer_of_space("border", True), (3, 16, 16)),
    "grid_sample, reflection": (transformer_of_space("reflection"), (3, 16, 16)),
    "grid_sample, bicubic": (transformer_of_space("zeros", mode="bicubic"), (3, 16, 16)),
    "warp": (warp, [(3, 8, 8), (2, 8, 8)]), "unfold, fold": (unfold_fold, (3, 12, 12)),
    "CoordConv": (coordinates, (3, 8, 10)), "NeRF": (nerf, (5, 3)), "SIREN": (siren, (2,)), "PointNet": (points, (20, 3)),
    "graph convolution": (graph, [(5, 6), (5, 5)]), "messages": (edges, (4, 6)), "YOLO": (Yolo, (3, 32, 32)),
    "SSD's heads": (ssd, (3, 16, 16)), "CenterNet's head": (centers, (3, 16, 16)), "BiFPN": (FPN, (3, 32, 32)),
    "CBAM": (cbam, (16, 8, 8)), "einsum": (einsums, (5, 10)), "ASPP": (aspp, (8, 12, 12)), "mixer": (mixer, (9, 12)),
    "blur pool": (blurred, (3, 12, 12)), "shifted windows": (windows, (16, 8, 8)), "activations": (activations, (4, 5)),
    "norms": (norms, (3, 16, 16)), "pools": (pools, (3, 12, 12)), "volume": (volume, (2, 8, 8, 8)),
    "reductions": (reductions, (6, 8)), "choosing": (choosing, (8,)), "shapes": (shapes, (4, 6, 9)),
    "arithmetic": (arithmetic, (12,)), "capsules": (capsules, (1, 14, 14)),
    "siamese": (siamese, [(1, 14, 14), (1, 14, 14)]), "conditional": (conditional, [(3, 8, 8), Ids((), 10)]),
}
