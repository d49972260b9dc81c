#!/usr/bin/env python3
"""The losses that examples/wgan_gp.c prints, computed with NumPy in double precision, for tests/examples.

    python3 tests/tools/wgan_values.py examples/digits.npz > tests/examples/wgan_gp.txt

Gradients come from a small tape whose backward rules are written with the tape's own operations, so that a gradient can be
differentiated again. Convolution is a product with constant matrices of zeros and ones. Before anything is written, the
gradients of the first step's loss are checked against differences of the loss.
"""
import sys

import numpy as np

BATCH, STEPS, RATE = 16, 200, float(np.float32(0.001))
SHAPES = {"conv1.W": (8, 1, 3, 3), "conv1.b": (8,), "conv2.W": (16, 8, 3, 3), "conv2.b": (16,),
          "fc1.W": (64, 32), "fc1.b": (32,), "fc2.W": (32, 1), "fc2.b": (1,)}


class Value:
    def __init__(self, data, inputs=(), back=None):
        self.data, self.inputs, self.back = np.asarray(data, dtype=np.float64), inputs, back

    shape = property(lambda self: self.data.shape)
    __add__ = lambda a, b: add(a, b)
    __radd__ = lambda a, b: add(a, b)
    __sub__ = lambda a, b: add(a, mul(b, -1.0))
    __rsub__ = lambda a, b: add(b, mul(a, -1.0))
    __mul__ = lambda a, b: mul(a, b)
    __rmul__ = lambda a, b: mul(a, b)


def value(x):
    return x if isinstance(x, Value) else Value(x)


def add(a, b):
    a, b = value(a), value(b)
    return Value(a.data + b.data, (a, b), lambda g: (fold(g, a.shape), fold(g, b.shape)))


def mul(a, b):
    a, b = value(a), value(b)
    return Value(a.data * b.data, (a, b), lambda g: (fold(mul(g, b), a.shape), fold(mul(g, a), b.shape)))


def fold(g, shape):
    """The adjoint of broadcasting to g's shape."""
    if g.shape == shape:
        return g
    lead = len(g.shape) - len(shape)
    axes = tuple(i for i in range(len(g.shape)) if i < lead or (shape[i - lead] == 1 and g.shape[i] > 1))
    return reshape(total(g, axes), shape)


def total(x, axes=None):
    axes = tuple(range(len(x.shape))) if axes is None else axes
    kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return Value(x.data.sum(axes), (x,), lambda g: (spread(reshape(g, kept), x.shape),))


def spread(x, shape):
    return Value(np.broadcast_to(x.data, shape), (x,), lambda g: (fold(g, x.shape),))


def reshape(x, shape):
    return Value(x.data.reshape(shape), (x,), lambda g: (reshape(g, x.shape),))


def swap(x, axes):
    return Value(x.data.transpose(axes), (x,), lambda g: (swap(g, tuple(np.argsort(axes))),))


def dot(a, b):
    return Value(a.data @ b.data, (a, b), lambda g: (dot(g, swap(b, (1, 0))), dot(swap(a, (1, 0)), g)))


def tanh(x):
    y = Value(np.tanh(x.data), (x,), lambda g: (g * (1 - y * y),))
    return y


def power(x, p):
    return Value(x.data**p, (x,), lambda g: (g * p * power(x, p - 1),))


def grads(y, wrt):
    order, seen = [], set()

    def visit(v):
        if id(v) not in seen:
            seen.add(id(v))
            for u in v.inputs:
                visit(u)
            order.append(v)

    visit(y)
    g = {id(y): Value(np.ones(y.shape))}
    for v in reversed(order):
        if v.back and id(v) in g:
            for u, gu in zip(v.inputs, v.back(g[id(v)])):
                g[id(u)] = g[id(u)] + gu if id(u) in g else gu
    return [g[id(w)] for w in wrt]


def windows(c, h, w, k, s, p):
    """0/1 matrix from [C*H*W] to [OH*OW*C*K*K]."""
    oh, ow = (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
    m = np.zeros((c, h, w, oh, ow, c, k, k))
    for a, b, q, u, v in np.ndindex(oh, ow, c, k, k):
        i, j = a * s - p + u, b * s - p + v
        if 0 <= i < h and 0 <= j < w:
            m[q, i, j, a, b, q, u, v] = 1
    return Value(m.reshape(c * h * w, -1)), oh, ow


WINDOWS = {"conv1": windows(1, 8, 8, 3, 2, 1), "conv2": windows(8, 4, 4, 3, 2, 1)}


def conv(x, p, name):
    m, oh, ow = WINDOWS[name]
    w, b = p[name + ".W"], p[name + ".b"]
    n, oc = x.shape[0], w.shape[0]
    col = reshape(dot(reshape(x, (n, -1)), m), (n * oh * ow, -1))
    y = dot(col, swap(reshape(w, (oc, -1)), (1, 0))) + b
    return swap(reshape(y, (n, oh, ow, oc)), (0, 3, 1, 2))


def critic(x, p):
    h = tanh(conv(tanh(conv(x, p, "conv1")), p, "conv2"))
    h = tanh(dot(reshape(h, (h.shape[0], -1)), p["fc1.W"]) + p["fc1.b"])
    return dot(h, p["fc2.W"]) + p["fc2.b"]


def mean(x):
    return total(x) * (1 / x.data.size)


def loss_of(p, real, fake, mix):
    x = Value(mix * real + (1 - mix) * fake)
    (slope,) = grads(total(critic(x, p)), [x])
    slopes = power(total(slope * slope, (1, 2, 3)) + 1e-12, 0.5)
    penalty = mean((slopes - 1) * (slopes - 1))
    return mean(critic(value(fake), p)) - mean(critic(value(real), p)) + 10 * penalty


def scattered(shape, place):
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return ((((i * 37 + 11 * place + 5) * 53) % 97 - 48) / 64).reshape(shape)


def f32(x):
    return np.asarray(x).astype(np.float32).astype(np.float64)


def check_gradients(p, data, h=1e-5):
    names = list(p)
    for name, g in zip(names, grads(loss_of(p, *data), [p[n] for n in names])):
        for at in [tuple(d // 2 for d in g.shape), tuple(d - 1 for d in g.shape)]:
            ends = []
            for sign in (1, -1):
                moved = p[name].data.copy()
                moved[at] += sign * h
                ends.append(float(loss_of({**p, name: Value(moved)}, *data).data))
            want = (ends[0] - ends[1]) / (2 * h)
            assert abs(want - g.data[at]) < 1e-6 * max(1, abs(want)), (name, at, want, g.data[at])


def main(path):
    p = {}
    for place, (name, shape) in enumerate(SHAPES.items()):
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        p[name] = Value(f32(scattered(shape, place) * (0.125 if len(shape) == 1 else 2 / np.sqrt(fan_in))))
    real = np.load(path)["train_x"][:BATCH].astype(np.float64)
    fake, mix = (f32(scattered(s, place) * 0.625 + 0.5) for s, place in (((BATCH, 1, 8, 8), 100), ((BATCH, 1, 1, 1), 101)))
    check_gradients(p, (real, fake, mix))
    print("# Made by tests/tools/wgan_values.py; do not edit.")
    for _ in range(STEPS):
        loss = loss_of(p, real, fake, mix)
        print(repr(float(loss.data)))
        g = grads(loss, list(p.values()))
        p = {name: Value(v.data - RATE * d.data) for (name, v), d in zip(p.items(), g)}


main(sys.argv[1])
