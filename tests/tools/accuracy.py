#!/usr/bin/env python3
"""The errors of long sums, ours beside PyTorch's, for docs/accuracy.md.

    python3 tests/tools/accuracy.py build/lathe      needs numpy and torch; a minute

For each subject the same float32 data goes to `lathe run` and to torch on the CPU; the reference is numpy in float64. The
error is that of the result over the mean magnitude of what is added (of a sum: times their number; of a variance: over
the variance).
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

BN = "y, mean, var = batch_norm_train(x, s, b)"
DATA = ["0.1", "uniform", "alternating", "1000 + uniform"]
LENGTHS = [10 ** 3, 10 ** 5, 10 ** 7]


def data(kind, n):
    if kind == "0.1":
        return np.full(n, 0.1, np.float32)
    if kind == "alternating":
        return np.where(np.arange(n) % 2 == 0, 0.1, -0.3).astype(np.float32)
    x = np.random.default_rng(1).random(n, dtype=np.float32)
    return x + np.float32(1000) if kind.startswith("1000") else x


def lathe(command, text, inputs, output):
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "n.lathe")
        with open(model, "w") as f:
            f.write(text)
        args = [command, "run", model, "--output-dir", folder]
        for name, value in inputs.items():
            np.save(os.path.join(folder, name + ".in.npy"), value)
            args += ["--input", f"{name}={os.path.join(folder, name)}.in.npy"]
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL)
        return np.load(os.path.join(folder, output + ".npy")).astype(np.float64)


def worst(got, want, size):
    return float(np.max(np.abs(np.asarray(got, np.float64) - want) / size))


def mean(command, x):
    wide, t = x.astype(np.float64), torch.from_numpy(x)
    ours = lathe(command, f"network n(x: f32[{x.size}]) -> y {{ y = mean(x) }}", {"x": x}, "y")
    want, size = wide.mean(), np.abs(wide).mean()
    return worst(ours, want, size), worst(t.mean().numpy(), want, size)


def mse(command, x):
    y = np.full_like(x, 0.25)
    want = ((x.astype(np.float64) - y) ** 2).mean()
    ours = lathe(command, f"network n(x: f32[{x.size}], t: f32[{x.size}]) -> y {{ y = mse(x, t) }}", {"x": x, "t": y}, "y")
    theirs = torch.nn.functional.mse_loss(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    return worst(ours, want, want), worst(theirs, want, want)


def bias(command, x):
    """The gradient of a bias of 5: sums of columns."""
    n = x.size // 5
    g = x.reshape(n, 5)
    wide = g.astype(np.float64)
    want, size = wide.sum(0), np.abs(wide).sum(0)
    text = f"network n(a: f32[{n}, 2], W: f32[2, 5], b: f32[5], x: f32[{n}, 5]) -> y {{ h = linear(a, W, b)  y = grad(h, b, seed=x) }}"
    a, w = np.ones((n, 2), np.float32), np.ones((2, 5), np.float32)
    ours = lathe(command, text, {"a": a, "W": w, "b": np.zeros(5, np.float32), "x": g}, "y")
    b = torch.zeros(5, requires_grad=True)
    torch.nn.functional.linear(torch.from_numpy(a), torch.from_numpy(w.T.copy()), b).backward(torch.from_numpy(g))
    return worst(ours, want, size), worst(b.grad.numpy(), want, size)


def statistics(command, x, which):
    """Batch norm's mean and variance of two channels of five pixels."""
    n = x.size // 10
    image = x.reshape(n, 2, 5, 1)
    wide = image.astype(np.float64)
    text = f"network n(x: f32[{n}, 2, 5, 1], s: f32[2], b: f32[2]) -> mean, var {{ {BN} }}"
    ours = lathe(command, text, {"x": image, "s": np.ones(2, np.float32), "b": np.zeros(2, np.float32)}, which)
    norm = torch.nn.BatchNorm2d(2, momentum=1.0)
    norm(torch.from_numpy(image))
    if which == "mean":
        want, size = wide.mean((0, 2, 3)), np.abs(wide).mean((0, 2, 3))
        return worst(ours, want, size), worst(norm.running_mean.numpy(), want, size)
    want, count = wide.var((0, 2, 3)), x.size / 2
    theirs = norm.running_var.numpy().astype(np.float64) * (count - 1) / count
    return worst(ours, want, want), worst(theirs, want, want)


def entropy(command, x):
    n = x.size // 10
    logits, labels = x.reshape(n, 10), (np.arange(n) % 10).astype(np.int32)
    wide = logits.astype(np.float64)
    wide = wide - wide.max(1, keepdims=True)
    want = (np.log(np.exp(wide).sum(1)) - wide[np.arange(n), labels]).mean()
    text = f"network n(x: f32[{n}, 10], t: i32[{n}]) -> y {{ y = cross_entropy(x, t) }}"
    ours = lathe(command, text, {"x": logits, "t": labels}, "y")
    theirs = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels.astype(np.int64)))
    return worst(ours, want, want), worst(theirs.numpy(), want, want)


SUBJECTS = [
    ("mean", mean, DATA[:3]),
    ("mse to 0.25", mse, DATA[:3]),
    ("bias gradient", bias, DATA[:3]),
    ("batch norm, mean", lambda c, x: statistics(c, x, "mean"), DATA),
    ("batch norm, variance", lambda c, x: statistics(c, x, "var"), DATA[1:]),
    ("cross entropy", entropy, DATA[:3]),
]


def main():
    command = os.path.abspath(sys.argv[1])
    print("| | data |" + "".join(f" {n:.0e} lathe | torch |".replace("e+0", "e") for n in LENGTHS))
    print("|---|---|" + "---|---|" * len(LENGTHS))
    for name, subject, kinds in SUBJECTS:
        for kind in kinds:
            cells = [subject(command, data(kind, n)) for n in LENGTHS]
            print(f"| {name} | {kind} |" + "".join(f" {a:.0e} | {b:.0e} |" for a, b in cells), flush=True)


if __name__ == "__main__":
    main()
