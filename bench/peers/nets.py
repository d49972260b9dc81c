"""nets.py: the networks that are timed, written once, as ONNX nodes over drawn weights.

A Net is a list of nodes (op, inputs, output, attributes) in the standard's own words, its weights by name and the shapes of
values for one image. From it follow the file that Lathe, ONNX Runtime and OpenVINO read (`onnx_bytes`), the same nodes run by
PyTorch (torch_net.py), the number of floating-point operations, and the result in double precision (`double`), which NumPy
computes here from the definitions.
"""
import numpy as np


class Net:
    def __init__(self, shape, seed=0):
        self.nodes, self.weights, self.shape = [], {}, {"x": tuple(shape)}
        self.random, self.flop, self.last, self.last_reads = np.random.default_rng(seed), 0, "x", []

    def add(self, op, inputs, shape, **attrs):
        y = f"v{len(self.nodes)}"
        self.nodes.append((op, list(inputs), y, attrs))
        self.shape[y], self.last = tuple(shape), y
        return y

    def weight(self, name, array):
        self.weights[name] = np.ascontiguousarray(array, np.float32)
        return name

    def normal(self, shape, scale):
        return self.random.standard_normal(shape) * scale

    def windows(self, size, kernel, stride, pad):
        return tuple((n + 2 * pad - kernel) // stride + 1 for n in size)

    def conv(self, x, out, kernel=1, stride=1, groups=1, bias=False, pad=None):
        (c, *size), base, pad = self.shape[x], f"l{len(self.nodes)}", kernel // 2 if pad is None else pad
        size, fan = self.windows(size, kernel, stride, pad), c // groups * kernel * kernel
        names = [self.weight(base + ".W", self.normal((out, c // groups, kernel, kernel), (2 / fan) ** 0.5))]
        if bias: names.append(self.weight(base + ".b", self.normal(out, 0.1)))
        self.flop += 2 * fan * out * size[0] * size[1]
        return self.add("Conv", [x] + names, (out,) + size, kernel_shape=[kernel] * 2, strides=[stride] * 2,
                        pads=[pad] * 4, group=groups)

    def batch_norm(self, x, scale=1):
        c, base = self.shape[x][0], f"l{len(self.nodes)}"
        scale, var = (self.random.uniform(0.5 * k, 1.5 * k, c) for k in (scale, 1))
        values = scale, self.normal(c, 0.1), self.normal(c, 0.1), var
        names = [self.weight(f"{base}.{k}", v) for k, v in zip(("scale", "bias", "mean", "var"), values)]
        return self.add("BatchNormalization", [x] + names, self.shape[x], epsilon=1e-5, momentum=0.9)

    def linear(self, x, out):
        (n,), base = self.shape[x], f"l{len(self.nodes)}"
        names = self.weight(base + ".W", self.normal((out, n), (1 / n) ** 0.5)), self.weight(base + ".b", self.normal(out, 0.1))
        self.flop += 2 * n * out
        return self.add("Gemm", [x, *names], (out,), transB=1)

    def max_pool(self, x, kernel, stride, pad=0):
        c, *size = self.shape[x]
        return self.add("MaxPool", [x], (c,) + self.windows(size, kernel, stride, pad), kernel_shape=[kernel] * 2,
                        strides=[stride] * 2, pads=[pad] * 4)

    def relu(self, x): return self.add("Relu", [x], self.shape[x])
    def sum(self, x, y): return self.add("Add", [x, y], self.shape[x])
    def mean(self, x): return self.add("GlobalAveragePool", [x], (self.shape[x][0], 1, 1))
    def flatten(self, x): return self.add("Flatten", [x], (int(np.prod(self.shape[x])),))

    def relu6(self, x):
        bounds = [self.weight(f"l{len(self.nodes)}.{k}", v) for k, v in (("lo", 0), ("hi", 6))]
        return self.add("Clip", [x] + bounds, self.shape[x])

    # What a step changes; mean and var of batch_norm follow the batch, bounds of Clip are constants.
    def trained(self): return [name for name in self.weights if name.rsplit(".", 1)[1] in ("W", "b", "scale", "bias")]

    def onnx_bytes(self, batch):
        from onnx import TensorProto, helper, numpy_helper
        kind = TensorProto.FLOAT
        x, y = (helper.make_tensor_value_info(k, kind, (batch,) + self.shape[v]) for k, v in (("x", "x"), ("y", self.last)))
        rename = lambda v: "y" if v == self.last else v
        nodes = [helper.make_node(op, i, [rename(o)], name=o, **a) for op, i, o, a in self.nodes]
        weights = [numpy_helper.from_array(w, k) for k, w in self.weights.items()]
        model = helper.make_model(helper.make_graph(nodes, "net", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)],
                                  ir_version=8)
        return model.SerializeToString()

    def run(self, x, ops, weights):
        """The value of the last node; each is ops[op](operands…, attributes), and goes when nothing reads it any more."""
        value = {"x": x}
        for (op, inputs, y, attrs), dead in zip(self.nodes, self.dead()):
            value[y] = ops[op](*[weights[i] if i in weights else value[i] for i in inputs], **attrs)
            for i in dead: del value[i]
        return value[self.last]

    def dead(self):
        """For each node the values that it is the last to read."""
        if len(self.last_reads) != len(self.nodes):
            last = {i: k for k, node in enumerate(self.nodes) for i in node[1] if i not in self.weights}
            self.last_reads = [[i for i in set(node[1]) if last.get(i) == k] for k, node in enumerate(self.nodes)]
        return self.last_reads

    def double(self, x):
        return self.run(x.astype(np.float64), DOUBLE, {k: w.astype(np.float64) for k, w in self.weights.items()})


# ---- the definitions in double precision ----

def taps(x, kernel, stride, pad, fill=0.0):
    """(i, j, the elements of x that tap i, j of a window meets), over all windows."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    h, w = ((n - kernel) // stride + 1 for n in x.shape[2:])
    for i in range(kernel):
        for j in range(kernel):
            yield i, j, x[:, :, i:i + (h - 1) * stride + 1:stride, j:j + (w - 1) * stride + 1:stride]


def conv(x, w, b=None, *, kernel_shape, strides, pads, group):
    y = 0
    for i, j, at in taps(x, kernel_shape[0], strides[0], pads[0]):
        n, c, h, u = at.shape
        if group == 1: y = y + (w[:, :, i, j] @ at.reshape(n, c, h * u)).reshape(n, -1, h, u)
        elif group == c == len(w): y = y + at * w[:, 0, i, j, None, None]
        else: raise NotImplementedError("groups that are no single channels")
    return y if b is None else y + b[:, None, None]


def conv_grad_input(x, w, dy, stride, pad):
    k, dx = w.shape[2], np.zeros((*x.shape[:2], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad))
    n, o, h, u = dy.shape
    for i in range(k):
        for j in range(k):
            part = (w[:, :, i, j].T @ dy.reshape(n, o, h * u)).reshape(n, -1, h, u)
            dx[:, :, i:i + (h - 1) * stride + 1:stride, j:j + (u - 1) * stride + 1:stride] += part
    return dx[:, :, pad:dx.shape[2] - pad, pad:dx.shape[3] - pad]


def conv_grad_weight(x, w, dy, stride, pad):
    dw = np.empty(w.shape)
    for i, j, at in taps(x, w.shape[2], stride, pad): dw[:, :, i, j] = np.tensordot(dy, at, ((0, 2, 3), (0, 2, 3)))
    return dw


def batch_norm(x, scale, bias, mean, var, epsilon, momentum):
    scale, bias, mean, var = (a[:, None, None] for a in (scale, bias, mean, var))
    return scale * (x - mean) / np.sqrt(var + epsilon) + bias


def max_pool(x, kernel_shape, strides, pads):
    y = -np.inf
    for _, _, at in taps(x, kernel_shape[0], strides[0], pads[0], -np.inf): y = np.maximum(y, at)
    return y


DOUBLE = {
    "Conv": conv, "BatchNormalization": batch_norm, "MaxPool": max_pool, "Relu": lambda x: np.maximum(x, 0),
    "Add": np.add, "Clip": np.clip, "GlobalAveragePool": lambda x: x.mean((2, 3), keepdims=True),
    "Flatten": lambda x: x.reshape(len(x), -1), "Gemm": lambda x, w, b, transB: x @ w.T + b,
}


# ---- the networks ----

def lenet(n):
    """LeNet-5: 28x28, two convolutions of 5x5, three linear layers."""
    h = n.max_pool(n.relu(n.conv("x", 6, 5, bias=True)), 2, 2)
    h = n.flatten(n.max_pool(n.relu(n.conv(h, 16, 5, bias=True, pad=0)), 2, 2))
    n.linear(n.relu(n.linear(n.relu(n.linear(h, 120)), 84)), 10)


def resnet(n, stages, bottleneck):
    def cbn(x, out, kernel=1, stride=1, scale=1): return n.batch_norm(n.conv(x, out, kernel, stride), scale)
    h = n.max_pool(n.relu(cbn("x", 64, 7, 2)), 3, 2, 1)
    for i, blocks in enumerate(stages):
        mid, out = 64 << i, (256 if bottleneck else 64) << i
        for j in range(blocks):
            stride = 2 if i and not j else 1
            skip = cbn(h, out, 1, stride) if stride > 1 or n.shape[h][0] != out else h
            y = n.relu(cbn(n.relu(cbn(h, mid)), mid, 3, stride)) if bottleneck else n.relu(cbn(h, mid, 3, stride))
            y = cbn(y, out, 1 if bottleneck else 3, scale=0.2)  # small, as networks begin to train: they are well conditioned
            h = n.relu(n.sum(y, skip))
    n.linear(n.flatten(n.mean(h)), 1000)


def vgg16(n):
    h = "x"
    for widths in [64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3:
        for w in widths: h = n.relu(n.conv(h, w, 3, bias=True))
        h = n.max_pool(h, 2, 2)
    h = n.relu(n.linear(n.flatten(h), 4096))
    n.linear(n.relu(n.linear(h, 4096)), 1000)


def mobilenetv2(n):
    def cbn(x, out, kernel=1, stride=1, groups=1): return n.batch_norm(n.conv(x, out, kernel, stride, groups))
    h = n.relu6(cbn("x", 32, 3, 2))
    for t, c, blocks, first in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                                (6, 320, 1, 1)):
        for j in range(blocks):
            stride, y, channels = 1 if j else first, h, n.shape[h][0]
            if t > 1: y = n.relu6(cbn(y, channels * t))
            y = cbn(n.relu6(cbn(y, channels * t, 3, stride, channels * t)), c)
            h = n.sum(y, h) if stride == 1 and channels == c else y
    n.linear(n.flatten(n.mean(n.relu6(cbn(h, 1280)))), 1000)


NETWORKS = {
    "LeNet-5": lenet, "ResNet-18": lambda n: resnet(n, [2, 2, 2, 2], False), "ResNet-50": lambda n: resnet(n, [3, 4, 6, 3], True),
    "VGG-16": vgg16, "MobileNetV2": mobilenetv2,
}


def build(name, size):
    """The network for square images of `size`: LeNet-5's have one channel, others three."""
    n = Net((1 if name == "LeNet-5" else 3, size, size))
    NETWORKS[name](n)
    return n
