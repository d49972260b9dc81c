#!/usr/bin/env python3
"""Training steps, computed from their definitions with NumPy in double precision, for tests/api/steps.c.

    python3 tests/tools/step_values.py > tests/api/steps.txt

The network is y = linear(tanh(linear(x, l1.W, l1.b)), l2.W, l2.b), the loss mse(y, t). Each case is a line `= options`, a
line with the loss of every step before its update, and a line for each param with its elements after the last step. Inputs
and first weights are filled by the rule in filled() below, which steps.c repeats. Gradients are written out by hand; the
optimizers follow the formulas of their papers and the hooks those of DeZero. The learning rate is a float32 number.
"""
import numpy as np

STEPS, N, IN, MID, OUT = 25, 5, 6, 7, 3
PARAMS = {"l1.W": (IN, MID), "l1.b": (MID,), "l2.W": (MID, OUT), "l2.b": (OUT,)}
RATES = {"sgd": 0.01, "momentum": 0.01, "adagrad": 0.001, "adadelta": 1, "adam": 0.001}


def filled(shape, place):
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return ((((i * 37 + 11 * place + 5) * 53) % 97 - 48) / 64).reshape(shape)


def gradients(p, x, t):
    h = np.tanh(x @ p["l1.W"] + p["l1.b"])
    y = h @ p["l2.W"] + p["l2.b"]
    gy = 2 * (y - t) / y.size
    ga = gy @ p["l2.W"].T * (1 - h * h)
    return np.mean((y - t) ** 2), {"l1.W": x.T @ ga, "l1.b": ga.sum(0), "l2.W": h.T @ gy, "l2.b": gy.sum(0)}


def step_of(optimizer, state, g, t):
    """What is subtracted, before the rate; state is this param's own dict, t counts from 1."""
    s = lambda key: state.setdefault(key, np.zeros_like(g))
    if optimizer == "sgd":
        return g
    if optimizer == "momentum":
        state["v"] = 0.9 * s("v") + g
        return state["v"]
    if optimizer == "adagrad":
        state["h"] = s("h") + g**2
        return g / (np.sqrt(state["h"]) + 1e-8)
    if optimizer == "adadelta":
        rho, eps = 0.95, 1e-6
        state["g2"] = rho * s("g2") + (1 - rho) * g**2
        d = np.sqrt(s("d2") + eps) / np.sqrt(state["g2"] + eps) * g
        state["d2"] = rho * state["d2"] + (1 - rho) * d**2
        return d
    b1, b2, eps = 0.9, 0.999, 1e-8
    state["m"] = b1 * s("m") + (1 - b1) * g
    state["v"] = b2 * s("v") + (1 - b2) * g**2
    return state["m"] / (1 - b1**t) / (np.sqrt(state["v"] / (1 - b2**t)) + eps)


def case(optimizer="sgd", lr=None, decay=None, clip=None, frozen=(), patterns=()):
    rate = float(np.float32(RATES[optimizer] if lr is None else lr))
    p = {name: filled(shape, i) for i, (name, shape) in enumerate(PARAMS.items())}
    states, losses, clipped = {name: {} for name in p}, [], 0
    for k in range(STEPS):
        loss, g = gradients(p, filled((N, IN), 10 + 2 * k), filled((N, OUT), 11 + 2 * k))
        losses.append(loss)
        g = {name: v for name, v in g.items() if name not in frozen}
        if decay is not None:
            g = {name: v + decay * p[name] for name, v in g.items()}
        if clip is not None:
            shrink = clip / (np.sqrt(sum(np.sum(v**2) for v in g.values())) + 1e-6)
            if shrink < 1:
                g = {name: v * shrink for name, v in g.items()}
                clipped += 1
        for name, v in g.items():
            p[name] = p[name] - rate * step_of(optimizer, states[name], v, k + 1)
    opts = f"--optimizer {optimizer}" + (f" --lr {lr}" if lr is not None else "")
    opts += f" --weight-decay {decay}" if decay is not None else ""
    opts += f" --clip-norm {clip}" if clip is not None else ""
    opts += "".join(f" --freeze {f}" for f in patterns)
    assert clip is None or 0 < clipped < STEPS, f"{opts}: clipped {clipped} of {STEPS} times"
    print(f"= {opts}")
    for v in [losses] + list(p.values()):
        print(" ".join(repr(float(x)) for x in np.reshape(v, -1)))


print("# Made by tests/tools/step_values.py; do not edit.")
for name in RATES:
    case(name)
    case(name, lr=RATES[name] * 0.75 if name == "adadelta" else 0.05)
case(decay=0.125)
case(lr=0.25, clip=0.5)
case("momentum", decay=0.03, clip=0.52)
case("adagrad", lr=0.05, decay=0.03, clip=0.5)
case("adadelta", decay=0.01, clip=0.6)
case("adam", lr=0.01, decay=0.05, clip=0.5)
case("adam", frozen=("l1.W", "l1.b"), patterns=("l1",))
case("momentum", frozen=("l1.b", "l2.b"), patterns=("*.b",))
case("adadelta", decay=0.01, clip=0.45, frozen=("l1.W", "l2.b"), patterns=("l1.W", "l[2-9].b"))
