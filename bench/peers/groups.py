"""groups.py: the work items of three groups: layers, models and training steps. Each generator yields rows of race.py."""
import csv, gc, pathlib
import numpy as np
import nets
from contenders import called
from lathe import Model
from race import Race

LAYERS, LAYER_BATCH = pathlib.Path(__file__).parents[1] / "resnet50_convs.csv", 8
QUICK_LAYERS = "stem7x7s2", "s1_3x3_64_64", "s2_1x1_128_512", "s3_3x3s2_256", "s4_1x1_2048_512"
CALLS = [("LeNet-5", 28, 1), ("ResNet-18", 224, 1), ("ResNet-18", 224, 8), ("ResNet-50", 224, 1), ("VGG-16", 224, 1),
         ("MobileNetV2", 224, 1)]
QUICK_CALLS = CALLS[:2] + CALLS[5:]
STEPS = [("LeNet-5", 28, 64), ("ResNet-18", 64, 8), ("MobileNetV2", 64, 8), ("ResNet-50", 224, 4)]
RATE = 0.01
# How far a result may be from double precision: the largest element's error of results, the mean one of what a step changes.
NEAR, NEAR_STEP = 1e-4, 1e-2


def draw(shape, seed): return np.random.default_rng(seed).standard_normal(shape, np.float32)


def lathe_names(fast=True): return {"Lathe": "exact", **({"Lathe fast": "fast"} if fast else {})}


class Opened:
    """Models of Lathe that are open while an item is timed."""

    def __init__(self, library, options): self.library, self.options, self.models = library, " ".join(options), []

    def open(self, source, entry="run", compile="", open=""):
        self.models.append(Model(self.library, source, entry, f"{compile} {self.options}", open))
        return self.models[-1]

    def close(self):
        for m in self.models: m.close()
        self.models.clear()
        gc.collect()


# ---- layers: a convolution, and its gradients, one by one ----

def layer_text(what, n, c, h, w, out, k, s, p, size):
    """In the gradients the weights are given anew in each call, as in training; forward they are packed once."""
    x, dy = f"x: f32[{n}, {c}, {h}, {w}]", f"dy: f32[{n}, {out}, {size[0]}, {size[1]}]"
    attributes = f"stride={s}, pad={p}"
    layer = f'conv2d(x, out_channels={out}, kernel={k}, {attributes}, bias=false, name="c")'
    if what == "forward": return f"network layer({x}) -> y {{ y = {layer} }}\n"
    wrt = "x" if what == "input gradient" else "W"
    return (f"network layer({x}, W: f32[{out}, {c}, {k}, {k}], {dy}) -> d {{\n  y = conv2d(x, W, {attributes})\n"
            f"  d = grad(y, {wrt}, seed=dy)\n}}\n")


def lathe_layer(opened, text, arrays, want, threads, math):
    m = opened.open(text, compile=f"--math {math}", open=f"--threads {threads}")
    for name, *_ in [p for p in m.ports() if p[1] == "input"]: m.bind(name, arrays[name])
    if any(p[1] == "param" for p in m.ports()):
        m.array("c.W")[:] = arrays["W"]
        opened.library.repack(m.instance)
    y = np.empty(want.shape, np.float32)
    m.bind(next(p[0] for p in m.ports() if p[1] == "output"), y)
    go = m.caller()
    def result():
        go()
        return y
    return go, result


def torch_layer(torch, what, arrays, s, p, channels_last):
    from torch_net import layout
    t = {k: layout(torch.from_numpy(a), channels_last) for k, a in arrays.items()}
    conv, back = torch.nn.functional.conv2d, torch.ops.aten.convolution_backward
    def forward(): return conv(t["x"], t["W"], None, s, p)
    def backward(i):
        return back(t["dy"], t["x"], t["W"], None, [s, s], [p, p], [1, 1], False, [0, 0], 1, [i == 0, i == 1, False])[i]
    go = {"forward": forward, "input gradient": lambda: backward(0), "weight gradient": lambda: backward(1)}[what]
    def inferred():
        with torch.inference_mode(): return go()
    return inferred, lambda: inferred().contiguous().numpy()


def layer_race(context, what, row, threads):
    n, c, h, w, out, k, s, p = (LAYER_BATCH, *(int(row[key]) for key in ("C", "H", "W", "OC", "K", "S", "P")))
    size = [(v + 2 * p - k) // s + 1 for v in (h, w)]
    x, W, dy = draw((n, c, h, w), 0), draw((out, c, k, k), 1), draw((n, out, *size), 2)
    doubles = [a.astype(np.float64) for a in (x, W, dy)]
    if what == "forward": want = nets.conv(*doubles[:2], kernel_shape=[k], strides=[s], pads=[p], group=1)
    else: want = (nets.conv_grad_input if what == "input gradient" else nets.conv_grad_weight)(*doubles, s, p)
    context.use_threads(threads)
    race = Race(row["name"], threads, 2e-9 * n * out * c * k * k * size[0] * size[1], want, NEAR)
    arrays, text = {"x": x, "W": W, "dy": dy}, layer_text(what, n, c, h, w, out, k, s, p, size)
    fast = k == 3 and s == 1 and what != "weight gradient"  # elsewhere --math=fast changes nothing
    for name, math in lathe_names(fast).items():
        race.enter(name, lambda: lathe_layer(context.opened, text, arrays, want, threads, math))
    if what == "forward":
        net = nets.Net((c, h, w))
        net.weights["W"] = W
        net.add("Conv", ["x", "W"], want.shape[1:], kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)
        context.enter_files(race, context.write(net, n), x, want.shape, threads)
    if torch := context.peers.get("PyTorch"):
        for name, last in (("PyTorch", False), ("PyTorch channels last", True)):
            race.enter(name, lambda: torch_layer(torch, what, arrays, s, p, last))
    return race


def layers(context, what):
    with open(LAYERS) as f: rows = [r for r in csv.DictReader(f) if not context.quick or r["name"] in QUICK_LAYERS]
    for row in rows:
        yield layer_race(context, what, row, 1).run(context.seconds(0.8), context.clock)
        context.opened.close()


# ---- models: whole calls ----

def model_race(context, name, batch, net, path, want, threads):
    x = draw((batch, *net.shape["x"]), 1)
    context.use_threads(threads)
    race = Race(f"{name}, batch {batch}", threads, net.flop * batch * 1e-9, want, NEAR)
    def lathe(math):
        m = context.opened.open(path, compile=f"--math {math}", open=f"--threads {threads}")
        y = np.empty(want.shape, np.float32)
        m.bind("x", x), m.bind("y", y)
        go = m.caller()
        def result():
            go()
            return y
        return go, result
    attributes = [a for op, _, _, a in net.nodes if op == "Conv"]
    for way, math in lathe_names(any(a["kernel_shape"] == [3, 3] and a["group"] == 1 for a in attributes)).items():
        race.enter(way, lambda: lathe(math))
    context.enter_files(race, path, x, want.shape, threads)
    if "PyTorch" in context.peers:
        from torch_net import TorchNet
        for way, last in (("PyTorch", False), ("PyTorch channels last", True)):
            race.enter(way, lambda: called(TorchNet(net, last).forward(x)))
    return race


def models(context):
    for name, size, batch in QUICK_CALLS if context.quick else CALLS:
        net = nets.build(name, size)
        want, path = net.double(draw((batch, *net.shape["x"]), 1)), context.write(net, batch)
        for threads in context.threads:
            yield model_race(context, name, batch, net, path, want, threads).run(context.seconds(6), context.clock)
            context.opened.close()


# ---- train: steps of SGD ----

def changes(before, after): return {k: after[k].astype(np.float64) - before[k] for k in before}


def reference_step(net, x, labels):
    """What a step changes, by PyTorch in double precision."""
    import torch
    from torch_net import TorchNet
    t = TorchNet(net, dtype=torch.float64)
    loss = t.step(x, labels, RATE)()
    before, after = ({k: v[k] for k in net.trained()} for v in (net.weights, t.weights))
    return {**changes(before, {k: w.detach().numpy() for k, w in after.items()}), "loss": np.array(loss)}


def lathe_step(context, net, path, x, labels, threads, math):
    m = context.opened.open(path, "train", f"--optimizer sgd --lr {RATE} --math {math}", f"--threads {threads}")
    loss = np.zeros(1, np.float32)
    given = {"x": x, "loss": loss}
    for name, kind, dtype, _ in m.ports():
        if kind == "input" and name != "x": given[name] = labels.astype(dtype)
    for name, array in given.items(): m.bind(name, array)
    go, before = m.caller(), {k: net.weights[k] for k in net.trained()}
    def result():
        go()
        return {**changes(before, {k: m.array(k) for k in before}), "loss": loss[0].astype(np.float64)}
    return go, result


def torch_step(net, x, labels, channels_last):
    from torch_net import TorchNet
    t = TorchNet(net, channels_last)
    go, before = t.step(x, labels, RATE), {k: net.weights[k] for k in net.trained()}
    def result():
        loss = go()
        return {**changes(before, {k: t.weights[k].detach().contiguous().numpy() for k in before}), "loss": np.array(loss)}
    return go, result


def train(context):
    if "PyTorch" not in context.peers: return  # nobody to compare with, and no reference
    for name, size, batch in STEPS[:2] if context.quick else STEPS:
        net = nets.build(name, size)
        x, labels = draw((batch, *net.shape["x"]), 1), np.random.default_rng(2).integers(0, 10, batch)
        want, path = reference_step(net, x, labels), context.write(net, batch)
        for threads in context.threads:
            race = Race(f"{name}, {batch} of {size}x{size}", threads, 3e-9 * net.flop * batch, want, NEAR_STEP)
            context.use_threads(threads)
            for way, math in lathe_names().items():
                race.enter(way, lambda: lathe_step(context, net, path, x, labels, threads, math))
            for way, last in (("PyTorch", False), ("PyTorch channels last", True)):
                race.enter(way, lambda: torch_step(net, x, labels, last))
            yield race.run(context.seconds(6), context.clock)
            context.opened.close()
