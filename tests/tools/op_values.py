#!/usr/bin/env python3
"""Values of ops and their first gradients, computed from their definitions with NumPy in double precision, for
tests/ops/values.c.

    python3 tests/tools/op_values.py > tests/ops/values.txt

Each case is a line `= op | inputs | call`, then for each result a line with its type and its elements, and for each float
input x a line `d x: type elements` or `d x: none`, the gradient of sum(seed * result) over all float results. Arrays of more than FULL
elements are written as `~`, the largest magnitude, SAMPLES elements and SUMS sums of the elements times random weights.
Inputs, seeds, places and weights follow from their number by unit() and mix() below, which values.c repeats.

Written for clarity: loops over the definition, no tricks. Gradients come from the imaginary part of the same functions at
x + 1e-30 i, one element of x at a time; where that takes too long, from loops of their own, which are compared with it.
"""
import itertools
import math
import re

import numpy as np

np.seterr(all="ignore")
NAMES = {"f64": np.float64, "f32": np.float32, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
TYPES = {np.dtype(t): name for name, t in NAMES.items()}
FULL, SAMPLES, SUMS = 12, 3, 3
STEP = 1e-30
SEED, PLACE, WEIGHT = 100, 200, 300
ZERO = ("max_pool_index", "sign", "less", "less_equal", "equal", "stop_grad", "argmax", "floor", "round", "random_uniform")


def mix(i, salt):
    """32 bits from the numbers i and salt."""
    m = np.uint64(2**32 - 1)
    h = (np.asarray(i, np.uint64) * np.uint64(2654435761) + np.uint64((salt + 1) * 0x9E3779B9)) & m
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & m
    h ^= h >> np.uint64(13)
    h = h * np.uint64(0xC2B2AE35) & m
    return (h ^ (h >> np.uint64(16))).astype(np.int64)


def unit(n, salt):
    """n numbers between -2 and 2, odd multiples of 2^-22, which f32 holds."""
    return (2 * (mix(np.arange(n), salt) >> 9) + 1 - 2**23) / 2.0**22


def leaf(name, dtype, shape, place):
    n = int(np.prod(shape, dtype=np.int64))
    mixed = mix(np.arange(n), place)
    if name in ("index", "labels"):
        v = mixed % 6 - 1
    elif dtype == "bool":
        v = mixed % 2
    elif dtype.startswith("i"):
        v = mixed % 23 - 11
    elif name == "var" or name.startswith("p_"):
        v = unit(n, place) + 2.5
    elif name.startswith("c_"):  # few values, so that many are equal and some are 0
        v = (mixed % 9 - 4) / 4
    else:
        v = unit(n, place)
    return np.asarray(v).reshape(shape).astype(NAMES[dtype])


def number(v):
    if isinstance(v, (bool, np.bool_)):
        return str(int(v))
    if isinstance(v, np.integer):
        return str(int(v))
    v = float(v)
    return "nan" if math.isnan(v) else repr(int(v)) if v == int(v if math.isfinite(v) else 0) and abs(v) < 1e15 else repr(v)


def line(r):
    """The type and elements, or what stands for them."""
    shape = f"[{', '.join(map(str, r.shape))}]" if r.ndim else ""
    flat, n = r.reshape(-1), r.size
    if n <= FULL or r.dtype != np.float64 or not np.isfinite(flat).all():
        return f"{TYPES[r.dtype]}{shape} {' '.join(number(v) for v in flat)}"
    some = [np.abs(flat).max()] + [flat[mix(j, PLACE) % n] for j in range(SAMPLES)]
    some += [math.fsum(flat * unit(n, WEIGHT + j)) for j in range(SUMS)]
    return f"{TYPES[r.dtype]}{shape} ~ {' '.join(number(v) for v in some)}"


def results(fn, args):
    got = fn(*args)
    return [np.asarray(r) for r in (got if isinstance(got, tuple) else (got,))]


def stepped(fn, args, seeds):
    """The gradient of sum(seed * result) in each float argument."""
    out = []
    for k, x in enumerate(args):
        if x.dtype != np.float64:
            continue
        g = np.zeros(x.shape)
        for at in np.ndindex(*x.shape):
            moved = x.astype(np.complex128)
            moved[at] += STEP * 1j
            rs = results(fn, args[:k] + [moved] + args[k + 1:])
            g[at] = sum(np.sum(s * r.imag) for s, r in zip(seeds, rs) if np.iscomplexobj(r)) / STEP
        out.append(g)
    return out


COUNT = 0
UNDEFINED = "none"  # as a gradient: that of a loss which is NaN whatever its input


def case(op, inputs, call, fn, grad=None):
    """fn gets the inputs in order and returns one array or a tuple of them; grad, if any, gets the seeds as well and
    returns the gradients."""
    global COUNT
    args, names = [], []
    for place, (name, dtype, dims) in enumerate(re.findall(r"(\w+): (\w+)(?:\[([\d, ]+)\])?", inputs)):
        args.append(leaf(name, dtype, tuple(int(d) for d in dims.split(",")) if dims else (), place))
        names.append(name)
    rs = results(fn, args)
    print(f"= {op} | {inputs} | {call}")
    for r in rs:
        print(line(r))
    COUNT += 1
    if op in ZERO or not any(a.dtype == np.float64 for a in args) or not any(r.dtype == np.float64 for r in rs):
        return
    if grad == UNDEFINED:
        for name, a in zip(names, args):
            if a.dtype == np.float64:
                print(f"d {name}: none")
        return
    seeds = [unit(r.size, SEED + k).reshape(r.shape) for k, r in enumerate(rs)]
    gs = grad(*args, *seeds) if grad else stepped(fn, args, seeds)
    if grad and sum(a.size for a in args) <= 60:
        for g, s in zip(gs, stepped(fn, args, seeds)):
            assert np.abs(g - s).max() <= 1e-12 * np.abs(s).max(), (call, inputs)
    for name, g in zip([n for n, a in zip(names, args) if a.dtype == np.float64], gs):
        print(f"d {name}: {line(g)}")


def zeros(shape, *like):
    """Of floats, or of complex numbers where one of `like` holds such."""
    return np.zeros(shape, np.result_type(np.float64, *like))


# ---- windows -----------------------------------------------------------------------------------------------------------


def out_size(size, k, s, p0, p1, d, ceil=False):
    padded = size + p0 + p1
    extent = (k - 1) * d + 1
    n = (padded - extent) // s + 1
    if ceil and (padded - extent) % s and n * s < size + p0:
        n += 1
    return n


def sizes(shape, k, s, p, d, ceil=False):
    return (out_size(shape[2], k[0], s[0], p[0], p[2], d[0], ceil), out_size(shape[3], k[1], s[1], p[1], p[3], d[1], ceil))


def conv_taps(x_shape, w_shape, s, p, d, g):
    """For each group and tap: where it reads x and W and what of y it is added to."""
    c, h, wd = x_shape[1:]
    oc, cg, kh, kw = w_shape
    oh, ow = sizes(x_shape, (kh, kw), s, p, d)
    og = oc // g
    for q, k, l in itertools.product(range(g), range(kh), range(kw)):
        r, t = np.arange(oh) * s[0] - p[0] + k * d[0], np.arange(ow) * s[1] - p[1] + l * d[1]
        a, e = np.nonzero((0 <= r) & (r < h))[0], np.nonzero((0 <= t) & (t < wd))[0]
        n, channels, outs = np.arange(x_shape[0]), np.arange(q * cg, q * cg + cg), np.arange(q * og, q * og + og)
        yield np.ix_(n, channels, r[a], t[e]), np.ix_(outs, range(cg), [k], [l]), np.ix_(n, outs, a, e)


def conv2d(x, w, b=None, s=(1, 1), p=(0, 0, 0, 0), d=(1, 1), g=1):
    y = zeros((x.shape[0], w.shape[0]) + sizes(x.shape, w.shape[2:], s, p, d), x, w, *[b] * (b is not None))
    for at_x, at_w, at_y in conv_taps(x.shape, w.shape, s, p, d, g):
        y[at_y] += np.einsum("nchw,ocij->nohw", x[at_x], w[at_w])
    return y if b is None else y + b[None, :, None, None]


def conv2d_back(x, w, gy, s, p, d, g):
    """What sum(conv2d * gy) gives back to x, to W and to b."""
    gx, gw = zeros(x.shape, w, gy), zeros(w.shape, x, gy)
    for at_x, at_w, at_y in conv_taps(x.shape, w.shape, s, p, d, g):
        gx[at_x] += np.einsum("nohw,ocij->nchw", gy[at_y], w[at_w])
        gw[at_w] += np.einsum("nohw,nchw->oc", gy[at_y], x[at_x])[:, :, None, None]
    return gx, gw, gy.sum((0, 2, 3))


def windows(x, k, s, p, d, fill, ceil=False):
    """[N, C, OH, OW] lists of (h, w, value) for the taps inside the image."""
    oh, ow = sizes(x.shape, k, s, p, d, ceil)
    for i, c, a, e in itertools.product(range(x.shape[0]), range(x.shape[1]), range(oh), range(ow)):
        taps = []
        for u, v in itertools.product(range(k[0]), range(k[1])):
            r, t = a * s[0] - p[0] + u * d[0], e * s[1] - p[1] + v * d[1]
            if 0 <= r < x.shape[2] and 0 <= t < x.shape[3]:
                taps.append((r, t, x[i, c, r, t]))
        yield (i, c, a, e), taps


def pool_shape(x, k, s, p, d, ceil):
    return x.shape[:2] + sizes(x.shape, k, s, p, d, ceil)


def first_max(taps):
    best = None
    for tap in taps:
        if best is None or tap[2].real > best[2].real or (np.isnan(tap[2]) and not np.isnan(best[2])):
            best = tap
    return best


def max_pool(x, k, s, p, d, ceil=False):
    y = zeros(pool_shape(x, k, s, p, d, ceil), x)
    for at, taps in windows(x, k, s, p, d, None, ceil):
        y[at] = first_max(taps)[2] if taps else -np.inf
    return y


def max_pool_back(x, gy, k, s, p, d, ceil=False):
    gx = zeros(x.shape, gy)
    for at, taps in windows(x, k, s, p, d, None, ceil):
        if taps:
            gx[at[:2] + first_max(taps)[:2]] += gy[at]
    return (gx,)


def max_pool_index(x, k, s, p, d, ceil=False):
    y = np.zeros(pool_shape(x, k, s, p, d, ceil), np.int32)
    for at, taps in windows(x, k, s, p, d, None, ceil):
        best = first_max(taps)
        y[at] = best[0] * x.shape[3] + best[1] if taps else -1
    return y


def avg_count(at, taps, x, k, s, p, d, include):
    """Over how many elements of a window the mean is."""
    if not include:
        return len(taps)
    padded = (x.shape[2] + p[0] + p[2], x.shape[3] + p[1] + p[3])
    return sum(at[2] * s[0] + u * d[0] < padded[0] and at[3] * s[1] + v * d[1] < padded[1] for u in range(k[0]) for v in range(k[1]))


def avg_pool(x, k, s, p, d, ceil=False, include=False):
    y = zeros(pool_shape(x, k, s, p, d, ceil), x)
    for at, taps in windows(x, k, s, p, d, None, ceil):
        y[at] = sum(t[2] for t in taps) / avg_count(at, taps, x, k, s, p, d, include) if taps else 0
    return y


def avg_pool_back(x, gy, k, s, p, d, ceil=False, include=False):
    gx = zeros(x.shape, gy)
    for at, taps in windows(x, k, s, p, d, None, ceil):
        for r, t, _ in taps:
            gx[at[:2] + (r, t)] += gy[at] / avg_count(at, taps, x, k, s, p, d, include)
    return (gx,)


def im2col(x, k, s, p, d, matrix=True):
    n, c = x.shape[:2]
    oh, ow = sizes(x.shape, k, s, p, d)
    col = zeros((n, c, k[0], k[1], oh, ow), x)
    for i, q, u, v, a, e in np.ndindex(*col.shape):
        r, t = a * s[0] - p[0] + u * d[0], e * s[1] - p[1] + v * d[1]
        if 0 <= r < x.shape[2] and 0 <= t < x.shape[3]:
            col[i, q, u, v, a, e] = x[i, q, r, t]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1) if matrix else col


def col2im(col, x_shape, k, s, p, d, matrix=True):
    n, c = x_shape[:2]
    oh, ow = sizes(x_shape, k, s, p, d)
    if matrix:
        col = col.reshape(n, oh, ow, c, k[0], k[1]).transpose(0, 3, 4, 5, 1, 2)
    x = zeros(x_shape, col)
    for i, q, u, v, a, e in np.ndindex(*col.shape):
        r, t = a * s[0] - p[0] + u * d[0], e * s[1] - p[1] + v * d[1]
        if 0 <= r < x.shape[2] and 0 <= t < x.shape[3]:
            x[i, q, r, t] += col[i, q, u, v, a, e]
    return x


def text(**attrs):
    return "".join(f", {k}={str(v).lower() if isinstance(v, bool) else list(v) if isinstance(v, tuple) else v}"
                   for k, v in attrs.items())


def dims(shape):
    return "f64[" + ", ".join(map(str, shape)) + "]"


# ---- the cases ---------------------------------------------------------------------------------------------------------

KERNELS = [(1, 1), (2, 2), (3, 3), (1, 3), (3, 2), (4, 1), (5, 5)]
STRIDES = [(1, 1), (2, 2), (1, 3), (4, 2)]
PADS = [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0), (3, 2, 1, 2)]
DILATIONS = [(1, 1), (2, 1), (2, 3)]
IMAGES = [(1, 2, 5, 4), (2, 2, 4, 5), (1, 4, 6, 6), (3, 1, 3, 7)]


def configs(every, most=64):
    """Every so-manieth combination that has windows and few results."""
    n = 0
    for x, k, s, p, d in itertools.product(IMAGES, KERNELS, STRIDES, PADS, DILATIONS):
        oh, ow = sizes(x, k, s, p, d)
        fits = (k[0] - 1) * d[0] < x[2] + p[0] + p[2] and (k[1] - 1) * d[1] < x[3] + p[1] + p[3]
        if not fits or x[0] * x[1] * oh * ow > most:
            continue
        n += 1
        if n % every == 0:
            yield x, k, s, p, d


def conv_case(x, oc, k, s, p, d, g, bias):
    w = (oc, x[1] // g) + k
    attrs = text(stride=s, pad=p, dilation=d, groups=g)
    if bias:
        case("conv2d", f"x: {dims(x)}, W: {dims(w)}, b: f64[{oc}]", f"conv2d(x, W, b{attrs})",
             lambda x, w, b: conv2d(x, w, b, s, p, d, g), lambda x, w, b, gy: conv2d_back(x, w, gy, s, p, d, g))
    else:
        case("conv2d", f"x: {dims(x)}, W: {dims(w)}", f"conv2d(x, W{attrs})", lambda x, w: conv2d(x, w, None, s, p, d, g),
             lambda x, w, gy: conv2d_back(x, w, gy, s, p, d, g)[:2])


def convolutions():
    for j, (x, k, s, p, d) in enumerate(configs(5)):
        g = [1, x[1]][j % 2]
        oc = [2, 1, 3][j % 3] * g if g > 1 else 1 + j % 3
        if x[0] * oc * np.prod(sizes(x, k, s, p, d)) > 60:
            oc = g
        conv_case(x, oc, k, s, p, d, g, j % 2 == 0)
    for j, (x, k, s, p, d) in enumerate(configs(29, 40)):
        g = [x[1], 1][j % 2]
        w = (2 * g, x[1] // g) + k
        gy = (x[0], 2 * g) + sizes(x, k, s, p, d)
        attrs = text(stride=s, pad=p, dilation=d, groups=g)
        case("conv2d_grad_input", f"gy: {dims(gy)}, W: {dims(w)}", f"conv2d_grad_input(gy, W, size={list(x[2:])}{attrs})",
             lambda gy, w: conv2d_back(np.zeros(x), w, gy, s, p, d, g)[0])
        case("conv2d_grad_weight", f"x: {dims(x)}, gy: {dims(gy)}", f"conv2d_grad_weight(x, gy, kernel={list(k)}{attrs})",
             lambda v, gy: conv2d_back(v, np.zeros(w), gy, s, p, d, g)[1])


def textbook():
    """The same from im2col; x (1, 5, 15, 15) with W (8, 5, 3, 3) is the chapter's example."""
    for x, oc, k, s, p in (((1, 5, 15, 15), 8, (3, 3), (1, 1), (1,) * 4), ((2, 3, 6, 5), 4, (3, 2), (2, 1), (0,) * 4),
                           ((1, 1, 4, 4), 1, (1, 1), (1, 1), (0,) * 4), ((1, 2, 5, 6), 3, (2, 3), (1, 2), (1, 0, 2, 1)),
                           ((3, 4, 7, 7), 17, (5, 5), (1, 1), (2,) * 4)):
        w = (oc, x[1]) + k
        attrs = text(stride=s, pad=p)
        case("conv2d_simple", f"x: {dims(x)}, W: {dims(w)}, b: f64[{oc}]", f"conv2d_simple(x, W, b{attrs})",
             lambda x, w, b: conv2d(x, w, b, s, p, (1, 1)), lambda x, w, b, gy: conv2d_back(x, w, gy, s, p, (1, 1), 1))
        conv_case(x, oc, k, s, p, (1, 1), 1, True)
    for x, k, s, p in (((1, 2, 4, 5), (2, 2), (1, 1), (0,) * 4), ((2, 1, 5, 4), (3, 2), (2, 1), (1,) * 4),
                       ((1, 1, 3, 3), (2, 3), (2, 2), (0, 1, 2, 0)), ((2, 17, 7, 7), (2, 2), (2, 2), (0,) * 4)):
        pool = lambda v: max_pool(np.pad(v, ((0, 0), (0, 0), (p[0], p[2]), (p[1], p[3]))), k, s, (0,) * 4, (1, 1))
        case("pooling_simple", f"x: {dims(x)}", f"pooling_simple(x{text(kernel=k, stride=s, pad=p)})", pool)


def large_windows():
    """Blocks of 16 channels, whole and not, groups of them, one filter per channel, images narrower and wider than a tile."""
    one, no = (1, 1), (0,) * 4
    for j, (x, oc, k, s, p, d, g) in enumerate((
            ((2, 17, 9, 11), 33, (3, 3), one, (1,) * 4, one, 1), ((1, 32, 8, 8), 16, (3, 3), (2, 2), (1,) * 4, one, 1),
            ((1, 3, 20, 19), 16, (7, 7), (2, 2), (3,) * 4, one, 1), ((2, 16, 7, 7), 48, (1, 1), one, no, one, 1),
            ((1, 48, 6, 7), 48, (3, 3), one, (1,) * 4, one, 48), ((2, 16, 9, 9), 16, (5, 5), (2, 2), (2,) * 4, one, 16),
            ((1, 32, 7, 7), 32, (3, 3), one, (1,) * 4, one, 2), ((2, 20, 6, 6), 10, (3, 3), one, (1,) * 4, one, 5),
            ((3, 64, 4, 4), 64, (3, 3), one, (1,) * 4, one, 1), ((1, 16, 12, 12), 16, (3, 3), one, (2,) * 4, (2, 2), 1),
            ((1, 16, 10, 13), 19, (2, 3), (1, 2), (1, 0, 2, 3), one, 1), ((4, 8, 5, 5), 40, (5, 5), one, no, one, 1),
            ((1, 33, 6, 6), 17, (1, 7), one, (0, 3, 0, 3), one, 1), ((1, 33, 6, 6), 17, (7, 1), one, (3, 0, 3, 0), one, 1),
            ((2, 24, 8, 8), 24, (2, 2), (2, 2), no, one, 3), ((1, 16, 14, 14), 32, (1, 1), (2, 2), no, one, 1),
            ((1, 1, 28, 28), 6, (5, 5), one, (2,) * 4, one, 1), ((5, 6, 14, 14), 16, (5, 5), one, no, one, 1),
            ((2, 32, 6, 6), 32, (3, 3), one, (2, 2, 2, 2), (2, 2), 32), ((1, 40, 5, 9), 8, (3, 3), (3, 2), (1, 2, 0, 1), one, 1),
            ((1, 18, 9, 9), 36, (3, 3), (2, 1), (1,) * 4, (1, 2), 18), ((17, 4, 4, 4), 16, (4, 4), one, no, one, 1))):
        conv_case(x, oc, k, s, p, d, g, j % 2 == 0)
    for j, (x, k, s, p, d, ceil) in enumerate((
            ((2, 19, 9, 8), (3, 3), (2, 2), (1,) * 4, one, False), ((1, 32, 12, 12), (2, 2), (2, 2), no, one, False),
            ((1, 16, 13, 7), (3, 2), (1, 1), (1, 0, 1, 1), one, False), ((1, 17, 11, 11), (3, 3), (2, 2), no, one, True),
            ((2, 16, 9, 9), (2, 2), (2, 2), (1, 1, 0, 0), (2, 2), True), ((1, 33, 7, 7), (7, 7), (1, 1), no, one, False))):
        attrs = text(kernel=k, stride=s, pad=p, dilation=d, ceil=ceil)
        case("max_pool", f"x: {dims(x)}", f"max_pool(x{attrs})", lambda v: max_pool(v, k, s, p, d, ceil),
             lambda v, gy: max_pool_back(v, gy, k, s, p, d, ceil))
        case("max_pool", f"c_x: {dims(x)}", f"max_pool(c_x{attrs})", lambda v: max_pool(v, k, s, p, d, ceil),
             lambda v, gy: max_pool_back(v, gy, k, s, p, d, ceil))
        case("avg_pool", f"x: {dims(x)}", f"avg_pool(x{attrs}{text(count_include_pad=j % 2 == 1)})",
             lambda v: avg_pool(v, k, s, p, d, ceil, j % 2 == 1), lambda v, gy: avg_pool_back(v, gy, k, s, p, d, ceil, j % 2 == 1))


def deconv_case(y, c, k, s, p, d, g, bias, outsize=True):
    """y, with channels in front of its size, is the gradient of sum(conv2d(y) * x) in y, plus b."""
    x, w = (y[0], c) + sizes(y, k, s, p, d), (c, y[1] // g) + k
    smallest = tuple(s[i] * (x[2 + i] - 1) + d[i] * (k[i] - 1) + 1 - p[i] - p[i + 2] for i in range(2))
    attrs = text(stride=s, pad=p, dilation=d, groups=g) + ("" if smallest == y[2:] else text(outsize=y[2:]))
    assert outsize or smallest == y[2:]
    value = lambda v, w, b=0: conv2d_back(np.zeros(y), w, v, s, p, d, g)[0] + np.reshape(b, (1, -1, 1, 1))
    back = lambda v, w, gy: (conv2d(gy, w, None, s, p, d, g), conv2d_back(gy, w, v, s, p, d, g)[1], gy.sum((0, 2, 3)))
    if bias:
        case("deconv2d", f"x: {dims(x)}, W: {dims(w)}, b: f64[{y[1]}]", f"deconv2d(x, W, b{attrs})", value, lambda v, w, b, gy: back(v, w, gy))
    else:
        case("deconv2d", f"x: {dims(x)}, W: {dims(w)}", f"deconv2d(x, W{attrs})", value, lambda v, w, gy: back(v, w, gy)[:2])


def deconvolutions():
    for j, (y, k, s, p, d) in enumerate(configs(37, 40)):
        g = [1, y[1]][j % 2]
        deconv_case(y, [2, 1, 3][j % 3] * g, k, s, p, d, g, j % 3 == 0)
    for size, k, s, p in ((3, 3, 1, 0), (2, 4, 2, 1), (4, 2, 3, 0), (3, 5, 2, 2)):  # the chapter's size of the result
        y = s * (size - 1) + k - 2 * p
        deconv_case((1, 1, y, y), 2, (k, k), (s, s), (p,) * 4, (1, 1), 1, False, False)
    deconv_case((2, 17, 10, 14), 33, (4, 4), (2, 2), (1,) * 4, (1, 1), 1, True)
    deconv_case((1, 32, 9, 9), 16, (3, 3), (1, 1), (1,) * 4, (1, 1), 1, False)
    deconv_case((2, 16, 8, 8), 32, (2, 2), (2, 2), (0,) * 4, (1, 1), 16, True)


def chapter_pools():
    """Max and mean over windows of an image padded with zeros, written by hand."""
    def padded(x, p):
        return np.pad(x, ((0, 0), (0, 0), (p[0], p[2]), (p[1], p[3])))

    def pool(x, k, s, p, fn):
        z = padded(x, p)
        oh, ow = sizes(x.shape, k, s, p, (1, 1))
        y = zeros(x.shape[:2] + (oh, ow), x)
        for i, j in np.ndindex(oh, ow):
            y[:, :, i, j] = fn(z[:, :, i * s[0]:i * s[0] + k[0], j * s[1]:j * s[1] + k[1]], (2, 3))
        return y
    for x, k, s, p in (((1, 2, 4, 5), (2, 2), (1, 1), (0,) * 4), ((2, 1, 5, 4), (3, 2), (2, 1), (1,) * 4),
                       ((1, 1, 3, 3), (2, 3), (2, 2), (0, 1, 2, 0)), ((1, 2, 5, 5), (5, 5), (1, 1), (0,) * 4)):
        attrs = text(kernel=k, stride=s, pad=p)
        case("max_pool", f"x: {dims(x)}", f"pooling(x{attrs})", lambda v: pool(v, k, s, p, np.max))
        case("max_pool", f"x: {dims(x)}", f"pooling_simple(x{attrs})", lambda v: pool(v, k, s, p, np.max))
        case("avg_pool", f"x: {dims(x)}", f"average_pooling(x{attrs})", lambda v: pool(v, k, s, p, np.mean))


def columns():
    """The chapter's two shapes, then many."""
    for x, k in (((1, 3, 7, 7), (5, 5)), ((10, 3, 7, 7), (5, 5))):
        case("im2col", f"x: {dims(x)}", f"im2col(x{text(kernel=k)})", lambda v: im2col(v, k, (1, 1), (0,) * 4, (1, 1)),
             lambda v, gy: (col2im(gy, x, k, (1, 1), (0,) * 4, (1, 1)),))
    for j, (x, k, s, p, d) in enumerate(configs(23, 24)):
        matrix = bool(j % 2)
        attrs = text(kernel=k, stride=s, pad=p, dilation=d, to_matrix=matrix)
        case("im2col", f"x: {dims(x)}", f"im2col(x{attrs})", lambda v: im2col(v, k, s, p, d, matrix),
             lambda v, gy: (col2im(gy, x, k, s, p, d, matrix),))
        col = im2col(np.zeros(x), k, s, p, d, matrix).shape
        case("col2im", f"col: {dims(col)}", f"col2im(col, input_shape={list(x)}{attrs})", lambda v: col2im(v, x, k, s, p, d, matrix),
             lambda v, gy: (im2col(gy, k, s, p, d, matrix),))


# Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015: y = A'((G w G') * (B' d B))A of each tile.
TILES = {
    2: (((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        ((1, 0, 0), (.5, .5, .5), (.5, -.5, .5), (0, 0, 1)),
        ((1, 1, 1, 0), (0, 1, -1, -1))),
    4: (((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1)),
        ((1/4, 0, 0), (-1/6, -1/6, -1/6), (-1/6, 1/6, -1/6), (1/24, 1/12, 1/6), (1/24, -1/12, 1/6), (0, 0, 1)),
        ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))),
}


def winograd_image(x, tile, pad):
    (n, c, h, w), edge, b = x.shape, tile + 2, np.array(TILES[tile][0])
    rows, cols = -(-(h + pad[0] + pad[2] - 2) // tile), -(-(w + pad[1] + pad[3] - 2) // tile)
    wide = zeros((n, c, rows * tile + 2, cols * tile + 2), x)
    wide[:, :, pad[0]:pad[0] + h, pad[1]:pad[1] + w] = x
    v = zeros((edge * edge, n, rows, cols, c), x)
    for i, q, r, k in np.ndindex(n, c, rows, cols):
        v[:, i, r, k, q] = (b @ wide[i, q, r * tile:r * tile + edge, k * tile:k * tile + edge] @ b.T).reshape(-1)
    return v.reshape(edge * edge, -1, c)


def winograd_filter(w, tile, turned):
    g = np.array(TILES[tile][1])
    u = np.einsum("ik,ockl,jl->ijco", g, w[:, :, ::-1, ::-1] if turned else w, g).reshape((tile + 2) ** 2, w.shape[1], w.shape[0])
    return u.transpose(0, 2, 1) if turned else u


def winograd_result(m, tile, size):
    a, rows, cols = np.array(TILES[tile][2]), -(-size[0] // tile), -(-size[1] // tile)
    m = m.reshape(tile + 2, tile + 2, -1, rows, cols, m.shape[2])
    y = np.einsum("ik,klnrco,jl->noricj", a, m, a).reshape(m.shape[2], m.shape[5], rows * tile, cols * tile)
    return y[:, :, :size[0], :size[1]]


def fewer_products():
    for tile in (2, 4):
        for x, pad in (((2, 3, 6, 7), (1, 0, 1, 2)), ((1, 2, 5, 4), (0,) * 4), ((1, 17, 7, 4), (1,) * 4)):
            case("winograd_image", f"x: {dims(x)}", f"winograd_image(x{text(tile=tile, pad=pad)})", lambda v: winograd_image(v, tile, pad))
        for w, turned in (((3, 2, 3, 3), False), ((2, 3, 3, 3), True), ((18, 2, 3, 3), False), ((2, 17, 3, 3), True)):
            case("winograd_filter", f"W: {dims(w)}", f"winograd_filter(W{text(tile=tile, turned=turned)})", lambda v: winograd_filter(v, tile, turned))
        for images, oc, size in ((1, 3, (3, 2)), (2, 2, (5, 4)), (1, 17, (4, 6))):
            m = ((tile + 2) ** 2, images * -(-size[0] // tile) * -(-size[1] // tile), oc)
            case("winograd_result", f"m: {dims(m)}", f"winograd_result(m{text(size=size, tile=tile)})", lambda v: winograd_result(v, tile, size))


def pools():
    for j, (x, k, s, p, d) in enumerate(configs(11)):
        ceil, include = bool(j % 2), bool(j // 2 % 2)
        gy = pool_shape(np.zeros(x), k, s, p, d, ceil)
        attrs = text(kernel=k, stride=s, pad=p, dilation=d, ceil=ceil)
        v = "c_x" if j % 4 else "x"
        case("max_pool", f"{v}: {dims(x)}", f"max_pool({v}{attrs})", lambda v: max_pool(v, k, s, p, d, ceil),
             lambda v, gy: max_pool_back(v, gy, k, s, p, d, ceil))
        if j % 3 == 0:
            case("max_pool_index", f"{v}: {dims(x)}", f"max_pool_index({v}{attrs})", lambda v: max_pool_index(v, k, s, p, d, ceil))
        if j % 3 == 1:
            case("max_pool_grad", f"gy: {dims(gy)}, c_x: {dims(x)}", f"max_pool_grad(gy, max_pool_index(c_x{attrs}), size={list(x[2:])}{attrs})",
                 lambda gy, v: max_pool_back(v, gy, k, s, p, d, ceil)[0])
        attrs += text(count_include_pad=include)
        case("avg_pool", f"x: {dims(x)}", f"avg_pool(x{attrs})", lambda v: avg_pool(v, k, s, p, d, ceil, include),
             lambda v, gy: avg_pool_back(v, gy, k, s, p, d, ceil, include))
        if j % 4 == 0:
            case("avg_pool_grad", f"gy: {dims(gy)}", f"avg_pool_grad(gy, size={list(x[2:])}{attrs})",
                 lambda v: avg_pool_back(np.zeros(x), v, k, s, p, d, ceil, include)[0])
    nan = np.array([[[[1, np.nan, 3], [4, np.nan, -1], [2, 2, 2]]]], np.float64)
    const = "const x: f64[1, 1, 3, 3] = [[[[1, nan, 3], [4, nan, -1], [2, 2, 2]]]] | "
    for op, fn in (("max_pool", max_pool), ("max_pool_index", max_pool_index)):
        case(op, "", f"{const}{op}(x, kernel=2, stride=1)", lambda: fn(nan, (2, 2), (1, 1), (0,) * 4, (1, 1)))
    case("global_avg_pool", "x: f64[2, 3, 2, 5]", "global_avg_pool(x)", lambda x: x.mean((2, 3), keepdims=True))
    case("global_avg_pool", "x: f64[2, 33, 7, 7]", "global_avg_pool(x)", lambda x: x.mean((2, 3), keepdims=True))


def scattered(x, w, size, s, p, d):
    """deconv2d by its definition: every element of x times the filter is added where it belongs in y, if that is inside."""
    y = zeros((x.shape[0], w.shape[1]) + size, x, w)
    for i, j, k, l in itertools.product(range(x.shape[2]), range(x.shape[3]), range(w.shape[2]), range(w.shape[3])):
        r, t = i * s[0] - p[0] + k * d[0], j * s[1] - p[1] + l * d[1]
        if 0 <= r < size[0] and 0 <= t < size[1]:
            y[:, :, r, t] += np.einsum("nc,co->no", x[:, :, i, j], w[:, :, k, l])
    return y


def corners():
    """Borders and windows far larger than the image, windows that stand out, results longer than what reaches them."""
    far, one = 70000, (1, 1)
    for x, oc, k, s, p, d, g in (
            ((1, 2, 4, 5), 3, (3, 2), (far, 2), (far, 1, far, 1), one, 1), ((2, 6, 4, 3), 4, (2, 2), (1, far), (0, far, 0, far), one, 2),
            ((1, 1, 5, 3), 1, (3, 1), one, (far, 0, far, 0), (far, 1), 1), ((1, 20, 3, 3), 2, (2, 3), (far, 1), (far - 1, 1, 3, 1), one, 1)):
        conv_case(x, oc, k, s, p, d, g, g == 1)
        attrs = text(stride=s, pad=p, dilation=d, groups=g)
        w, gy = (oc, x[1] // g) + k, (x[0], oc) + sizes(x, k, s, p, d)
        case("conv2d_grad_input", f"gy: {dims(gy)}, W: {dims(w)}", f"conv2d_grad_input(gy, W, size={list(x[2:])}{attrs})",
             lambda gy, w: conv2d_back(np.zeros(x), w, gy, s, p, d, g)[0])
        case("conv2d_grad_weight", f"x: {dims(x)}, gy: {dims(gy)}", f"conv2d_grad_weight(x, gy, kernel={list(k)}{attrs})",
             lambda v, gy: conv2d_back(v, np.zeros(w), gy, s, p, d, g)[1])
    for j, (x, k, s, p, d, ceil, include) in enumerate((
            ((1, 1, 2, 2), (3, 3), (2, 2), (0,) * 4, one, True, False), ((1, 2, 3, 4), (5, 4), (3, 3), (0, 1, 0, 1), one, True, True),
            ((1, 2, 4, 3), (70, 66), (30, 27), (70, 66, 70, 66), one, False, False), ((1, 2, 4, 3), (80, 2), (33, 1), (100, 0, 100, 0), (2, 1), True, True),
            ((1, 1, 5, 2), (1, 90), (1, 90), (0, 90, 0, 88), one, False, True))):
        attrs = text(kernel=k, stride=s, pad=p, dilation=d, ceil=ceil)
        gy = pool_shape(np.zeros(x), k, s, p, d, ceil)
        case("max_pool", f"x: {dims(x)}", f"max_pool(x{attrs})", lambda v: max_pool(v, k, s, p, d, ceil),
             None if np.prod(k) < 60 else lambda v, gy: max_pool_back(v, gy, k, s, p, d, ceil))
        case("max_pool_index", f"x: {dims(x)}", f"max_pool_index(x{attrs})", lambda v: max_pool_index(v, k, s, p, d, ceil))
        attrs += text(count_include_pad=include)
        case("avg_pool", f"x: {dims(x)}", f"avg_pool(x{attrs})", lambda v: avg_pool(v, k, s, p, d, ceil, include))
        if j != 2:
            case("avg_pool_grad", f"gy: {dims(gy)}", f"avg_pool_grad(gy, size={list(x[2:])}{attrs})",
                 lambda v: avg_pool_back(np.zeros(x), v, k, s, p, d, ceil, include)[0])
    for x, w, size, s, p, d in (
            ((1, 2, 2, 3), (2, 1, 2, 2), (8, 7), one, (0,) * 4, (5, 3)), ((1, 1, 2, 2), (1, 2, 3, 2), (11, 6), (2, 1), (1, 0, 2, 1), (5, 4)),
            ((2, 1, 3, 2), (1, 1, 2, 1), (5, 2), (1, 3), (1, 1, 1, 1), (4, 1))):
        smallest = [s[i] * (x[2 + i] - 1) + d[i] * (w[2 + i] - 1) + 1 - p[i] - p[i + 2] for i in range(2)]
        assert all(0 <= size[i] - smallest[i] < max(s[i], d[i]) for i in range(2)), (size, smallest)
        attrs = text(stride=s, pad=p, dilation=d, outsize=size)
        case("deconv2d", f"x: {dims(x)}, W: {dims(w)}", f"deconv2d(x, W{attrs})", lambda x, w: scattered(x, w, size, s, p, d))
    for x, w, s, p in (((1, 1, 3, 3), (1, 2, 9, 9), (9, 9), (0,) * 4), ((1, 17, 2, 3), (17, 2, 14, 5), (16, 4), (1, 0, 0, 2)),
                       ((1, 1, 4, 4), (1, 1, 3, 1), (40, 40), (40, 30, 40, 30))):
        size = tuple(s[i] * (x[2 + i] - 1) + w[2 + i] - p[i] - p[i + 2] for i in range(2))
        case("deconv2d", f"x: {dims(x)}, W: {dims(w)}", f"deconv2d(x, W{text(stride=s, pad=p)})", lambda x, w: scattered(x, w, size, s, p, one),
             lambda x, w, gy: conv2d_turned(gy, w, s, p, x))


def conv2d_turned(gy, w, s, p, x):
    """The gradients of deconv2d in x and in W: the convolution that it is the adjoint of, and that one's in its filter."""
    return conv2d(gy, w, None, s, p, (1, 1), 1), conv2d_back(gy, w, x, s, p, (1, 1), 1)[1]


def take(x, index, axis):
    y = zeros(index.shape, x)
    for at in np.ndindex(*index.shape):
        k, place = index[at], list(at)
        place[axis] = min(max(k, 0), x.shape[axis] - 1)
        y[at] = 0 if k < 0 else np.nan if k >= x.shape[axis] else x[tuple(place)]
    return y


def put(g, index, axis, size):
    shape = list(g.shape)
    shape[axis] = size
    y = zeros(shape, g)
    for at in np.ndindex(*g.shape):
        place = list(at)
        place[axis] = index[at]
        if 0 <= index[at] < size:
            y[tuple(place)] += g[at]
    return y


def chosen(x, index, axis):
    """Slices of x along axis at the places that index names; 0 below 0, NaN at or past the end."""
    y = np.take(x, np.clip(index, 0, x.shape[axis] - 1), axis)
    at = index.reshape((1,) * axis + index.shape + (1,) * (x.ndim - axis - 1))
    return np.where(at < 0, 0.0, np.where(at >= x.shape[axis], np.nan, y))


def gathers():
    for dtype in ("i32", "i64"):
        case("take", f"x: f64[5, 3], index: {dtype}[7]", "take(x, index)", lambda x, i: chosen(x, i, 0))
        case("take", f"x: f64[2, 4, 3], index: {dtype}[3, 2]", "take(x, index, axis=1)", lambda x, i: chosen(x, i, 1))
        case("take", f"x: f64[3, 17], index: {dtype}", "take(x, index, axis=-1)", lambda x, i: chosen(x, i, 1))
        case("gather", f"x: f64[3, 4], index: {dtype}[3, 6]", "gather(x, index)", lambda x, i: take(x, i, 1))
        case("gather", f"x: f64[5, 2], index: {dtype}[3, 2]", "gather(x, index, axis=0)", lambda x, i: take(x, i, 0))
        case("scatter_add", f"g: f64[3, 6], index: {dtype}[3, 6]", "scatter_add(g, index, size=4)", lambda g, i: put(g, i, 1, 4))
        case("scatter_add", f"g: f64[2, 5, 2], index: {dtype}[2, 5, 2]", "scatter_add(g, index, axis=1, size=7)",
             lambda g, i: put(g, i, 1, 7))


def products():
    case("linear", "x: f64[3, 5], W: f64[5, 4]", "linear(x, W)", lambda x, w: x @ w)
    case("linear", "x: f64[33, 70], W: f64[70, 35], b: f64[35]", "linear(x, W, b)", lambda x, w, b: x @ w + b,
         lambda x, w, b, gy: (gy @ w.T, x.T @ gy, gy.sum(0)))
    case("linear", "x: f64[16, 17], W: f64[17, 1]", "linear(x, W)", lambda x, w: x @ w)
    case("linear", "x: f64[1, 7], W: f64[7, 2], b: f64[2]", "linear(x, W, b)", lambda x, w, b: x @ w + b)
    for ta, tb in itertools.product((False, True), repeat=2):
        a, b = "4, 3" if ta else "3, 4", "5, 4" if tb else "4, 5"
        attrs = text(transpose_a=ta, transpose_b=tb)
        turn = lambda v, t: np.swapaxes(v, -1, -2) if t else v
        case("matmul", f"a: f64[{a}], b: f64[{b}]", f"matmul(a, b{attrs})", lambda a, b: turn(a, ta) @ turn(b, tb))
        case("matmul", f"a: f64[2, 1, {a}], b: f64[3, {b}]", f"matmul(a, b{attrs})", lambda a, b: turn(a, ta) @ turn(b, tb))


def loops(spec, a, b):
    """einsum as it is defined: one loop for each index."""
    ins, out = spec.replace(" ", "").split("->") if "->" in spec else (spec.replace(" ", ""), None)
    left, right = ins.split(",")
    if out is None:
        out = "".join(sorted(c for c in left + right if (left + right).count(c) == 1))
    extent = dict(zip(left, a.shape)) | dict(zip(right, b.shape))
    names = sorted(extent)
    y = zeros([extent[c] for c in out], a, b)
    for at in np.ndindex(*[extent[c] for c in names]):
        i = dict(zip(names, at))
        y[tuple(i[c] for c in out)] += a[tuple(i[c] for c in left)] * b[tuple(i[c] for c in right)]
    return y


def any_axes():
    for sa, sb, axes in (((2, 3), (3, 4), 1), ((2, 3, 4), (3, 4, 2), 2), ((2, 3), (2, 2), 0), ((3,), (3,), 1),
                         ((2, 3, 4), (2, 3, 4), ((0, 1, 2), (0, 1, 2))), ((2, 3, 4), (5, 4, 2), ((0, 2), (2, 1))),
                         ((2, 3, 4), (4, 3), ((-1,), (0,))), ((2, 3, 2, 2, 2, 3), (4, 3, 2, 2), ((1, 2, 3), (1, 2, 3))),
                         ((2, 1, 3), (1, 5), ((1,), (0,)))):
        lists = isinstance(axes, tuple)
        attrs = text(axes_a=axes[0], axes_b=axes[1]) if lists else text(axes=axes)
        case("tensordot", f"a: {dims(sa)}, b: {dims(sb)}", f"tensordot(a, b{attrs})", lambda a, b: np.tensordot(a, b, axes))
    for spec, sa, sb in (("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bc,ca", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)),
                         ("ji,kj->ik", (3, 2), (4, 3)), ("b ij , b jk -> b ik", (2, 2, 3), (2, 3, 4)), ("ibj,bkj->kbi", (2, 3, 4), (3, 5, 4)),
                         ("nchw,ochw->no", (2, 2, 3, 2), (3, 2, 3, 2)), ("nchw,oc->nohw", (2, 3, 2, 2), (4, 3)),
                         ("ncijhw,ocij->nohw", (1, 2, 2, 2, 3, 2), (3, 2, 2, 2)), ("ij,ij->", (3, 4), (3, 4)), ("ij,ij->ij", (3, 4), (3, 4)),
                         ("ij,ji->i", (3, 4), (4, 3)), ("i,j->ij", (3,), (4,)), ("i,j->ji", (3,), (4,)), ("ij,kl->k", (2, 3), (4, 2)),
                         ("ij,kl", (2, 3), (1, 2)), ("aB,Bc", (2, 3), (3, 2)), ("ij,jk->", (2, 3), (3, 2)), ("abc,b->ac", (2, 3, 2), (3,)),
                         ("ab,abc->cb", (2, 3), (2, 3, 4)), ("i,i", (5,), (5,)), ("nlhd,nmhd->nhlm", (1, 2, 2, 3), (1, 4, 2, 3))):
        case("einsum", f"a: {dims(sa)}, b: {dims(sb)}", f"einsum(a, b, spec=\"{spec}\")", lambda a, b: loops(spec, a, b))
    case("einsum", "a: f64[2, 3], b: f64", "einsum(a, b, spec=\"ij,\")", lambda a, b: a * b)
    case("einsum", "a: f64, b: f64", "einsum(a, b, spec=\",->\")", lambda a, b: a * b)


SPECIAL = "const x: f64[9] = [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5] | "
SX = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 2.5, -2.5])
PAIRS = "const y: f64[9, 1] = [[nan], [inf], [-inf], [0], [-0.0], [1], [-1], [2.5], [-2.5]] "


def clip(x, lo, hi):
    return np.where(np.real(x) < lo, lo, np.where(np.real(x) > hi, hi, x))


def larger(a, b):
    """The first of two equal ones."""
    a, b = np.broadcast_arrays(a, b)
    if not np.iscomplexobj(a) and not np.iscomplexobj(b):
        return np.maximum(a, b)
    return np.where(a.real >= b.real, a, b)


def smaller(a, b):
    return -larger(-a, -b) if np.asarray(a).dtype.kind in "fc" else np.minimum(a, b)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.where(np.real(x) > 0, x, 0.0) + np.log1p(np.exp(np.where(np.real(x) < 0, x, -x)))


def erf(x):
    """2/sqrt(pi) e^(-x²) (x + 2/3 x³ + 4/15 x⁵ + …), whose terms all have one sign; beyond 6 it is 1 to the last digit."""
    near = np.where(np.abs(np.real(x)) < 6, x, 0.0)
    term, total = near, near
    for n in range(1, 120):
        term = term * 2 * near * near / (2 * n + 1)
        total = total + term
    return np.where(np.isnan(x), x, np.where(np.abs(np.real(x)) < 6, 2 / np.sqrt(np.pi) * np.exp(-near * near) * total, np.sign(np.real(x))))


def elementwise():
    unary = {"neg": lambda x: -x, "abs": lambda x: np.where(np.real(x) < 0, -x, np.where(np.real(x) > 0, x, np.abs(np.real(x)))), "sign": np.sign, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh,
             "sigmoid": sigmoid, "softplus": softplus, "erf": erf, "atan": np.arctan, "sin": np.sin, "cos": np.cos, "floor": np.floor, "round": np.rint, "relu": lambda x: np.where(np.isnan(x) | (np.real(x) > 0), x, 0.0), "stop_grad": lambda x: x}
    for op, fn in unary.items():
        name = "p_x" if op in ("log", "sqrt") else "x"
        case(op, f"{name}: f64[3, 7]", f"{op}({name})", fn)
        case(op, f"{name}: f64[2, 3, 5, 7]", f"{op}({name})", fn)
        if op in ("abs", "sign", "relu"):
            case(op, "c_x: f64[3, 7]", f"{op}(c_x)", fn)
        case(op, "", SPECIAL + f"{op}(x)", lambda: fn(SX))
    for op in ("neg", "abs", "sign"):
        case(op, "x: i32[7]", f"{op}(x)", unary[op])
        case(op, "x: i64[7]", f"{op}(x)", unary[op])
    low = "const x: i32[2] = [-2147483648, 2147483647] | "
    case("neg", "", low + "-x", lambda: np.array([-2**31, -2**31 + 1], np.int32))
    case("abs", "", low + "abs(x)", lambda: np.array([-2**31, 2**31 - 1], np.int32))
    case("add", "", low + "x + x", lambda: np.array([0, -2], np.int32))
    case("mul", "", low + "x * x", lambda: np.array([0, 1], np.int32))
    binary = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "max": larger, "min": smaller,
              "less": np.less, "less_equal": np.less_equal, "equal": np.equal}
    for op, fn in binary.items():
        case(op, "a: f64[3, 4], b: f64[3, 4]", f"{op}(a, b)", fn)
        case(op, "c_a: f64[5, 4], c_b: f64[5, 4]", f"{op}(c_a, c_b)", fn)
        case(op, "a: f64[19, 33], b: f64[33]", f"{op}(a, b)", fn)
        case(op, "a: f64[2, 1, 3], b: f64[4, 1]", f"{op}(a, b)", fn)
        case(op, "a: i32[3, 1], b: i32[5]", f"{op}(a, b)", fn)
        case(op, "a: i64, b: i64[5]", f"{op}(a, b)", fn)
        case(op, "", PAIRS + SPECIAL + f"{op}(x, y)", lambda: fn(SX[None, :], SX[:, None]))
    case("equal", "a: bool[5], b: bool[3, 1]", "equal(a, b)", np.equal)
    case("div", "a: f64[3, 4], b: f64[4]", "a / b", np.divide)
    case("div", "", PAIRS + SPECIAL + "x / y", lambda: SX[None, :] / SX[:, None])
    whole = np.array([7, -7, 5, -2147483648, 1, 0], np.int64)
    by = np.array([2, 2, -3, -1, 0, 0], np.int64)
    quotient = lambda t: np.array([0 if b == 0 else int(math.trunc(int(a) / int(b))) for a, b in zip(whole, by)], np.int64).astype(t)
    for t in ("i32", "i64"):
        case("div", "", f"const a: {t}[6] = {list(map(int, whole))} const b: {t}[6] = {list(map(int, by))} | a / b",
             lambda: quotient(NAMES[t]))
    case("pow", "p_a: f64[3, 4], b: f64[4]", "pow(p_a, b)", np.power)
    case("pow", "", PAIRS + SPECIAL + "pow(x, y)", lambda: np.power(SX[None, :], SX[:, None]))
    case("clip", "x: f64[3, 7]", "clip(x, lo=-1.0, hi=0.5)", lambda x: clip(x, -1, 0.5))
    case("clip", "c_x: f64[3, 7]", "clip(c_x, lo=-0.75, hi=0.5)", lambda x: clip(x, -0.75, 0.5))
    case("clip", "x: f64[3, 7]", "clip(x, lo=-1.0)", lambda x: clip(x, -1, np.inf))
    case("clip", "", SPECIAL + "clip(x, lo=-2.0, hi=2.0)", lambda: clip(SX, -2, 2))
    for t in ("f64", "i32", "i64", "bool"):
        case("select", f"c: bool[3, 4], a: {t}[4], b: {t}[3, 1]", "select(c, a, b)", np.where)
    case("select", "c: bool, a: f64[3], b: f64[3]", "select(c, a, b)", np.where)
    bits = {"i32": (-2**31, 2**31 - 1), "i64": (-2**63, 2**63 - 1)}
    odd = "const x: f64[9] = [nan, inf, -inf, -0.75, 0.75, 1e10, -1e10, 1e300, -1e300] | "
    ox = [math.nan, math.inf, -math.inf, -0.75, 0.75, 1e10, -1e10, 1e300, -1e300]
    for t, (lo, hi) in bits.items():
        want = np.array([0 if math.isnan(v) else lo if v < lo else hi if v > hi else math.trunc(v) for v in ox], NAMES[t])
        case("cast", "", odd + f"cast(x, dtype={t})", lambda: want)
        case("cast", f"x: {t}[5]", "cast(x, dtype=f64)", lambda x: x.astype(np.float64))
        case("cast", f"x: bool[5]", f"cast(x, dtype={t})", lambda x: x.astype(NAMES[t]))
    case("cast", "x: f64[5]", "cast(cast(x, dtype=f32), dtype=f64)", lambda x: x)
    case("cast", "", odd + "cast(x, dtype=bool)", lambda: np.array(ox) != 0)
    case("cast", "x: i32[9]", "cast(x, dtype=bool)", lambda x: x != 0)
    case("cast", "", "const x: i64[3] = [4294967297, -1, 2147483648] | cast(x, dtype=i32)", lambda: np.array([1, -1, -2**31], np.int32))


def reduce_max(x, axis, keep):
    """The first maximum in row-major order; the axes go last."""
    axis = tuple(range(x.ndim)) if axis is None else tuple(a % x.ndim for a in axis)
    stay = [a for a in range(x.ndim) if a not in axis]
    rows = x.transpose(stay + sorted(axis)).reshape([x.shape[a] for a in stay] + [-1])
    y = np.take_along_axis(rows, np.argmax(rows.real, -1)[..., None], -1)[..., 0]
    return y.reshape([1 if a in axis else x.shape[a] for a in range(x.ndim)]) if keep else y


def reductions():
    for axes, keep in itertools.product(((), (0,), (1,), (-1,), (0, 2), (0, 1, 2)), (False, True)):
        axis = axes or None
        attrs = text(axes=axes, keepdims=keep)
        case("sum", "x: f64[3, 4, 2]", f"sum(x{attrs})", lambda x: x.sum(axis, keepdims=keep))
        case("mean", "x: f64[3, 4, 2]", f"mean(x{attrs})", lambda x: x.mean(axis, keepdims=keep))
        case("reduce_max", "x: f64[3, 4, 2]", f"reduce_max(x{attrs})", lambda x: reduce_max(x, axis, keep))
        case("reduce_max", "c_x: f64[3, 4, 2]", f"reduce_max(c_x{attrs})", lambda x: reduce_max(x, axis, keep))
    for t in ("i32", "i64"):
        case("sum", f"x: {t}[3, 4]", "sum(x, axes=[1])", lambda x: x.sum(1, dtype=x.dtype))
        case("reduce_max", f"x: {t}[3, 4]", "reduce_max(x, axes=[0])", lambda x: x.max(0))
        case("argmax", f"x: {t}[3, 5]", "argmax(x, axis=0)", lambda x: x.argmax(0)[None, :].astype(np.int32))
    case("sum", "x: f64", "sum(x)", lambda x: x)
    for shape, axis in (((5, 67), (1,)), ((67, 5), (0,)), ((3, 17, 5, 5), (0, 2, 3)), ((3, 17, 5, 5), (1,)), ((2000,), (0,))):
        case("sum", f"x: {dims(shape)}", f"sum(x{text(axes=axis)})", lambda x: x.sum(axis), lambda x, gy: (np.ones(shape) * np.expand_dims(gy, axis),))
        case("mean", f"x: {dims(shape)}", f"mean(x{text(axes=axis)})", lambda x: x.mean(axis))
        case("reduce_max", f"x: {dims(shape)}", f"reduce_max(x{text(axes=axis)})", lambda x: reduce_max(x, axis, False))
    case("sum", "", "const x: i32[2] = [2147483647, 2] | sum(x)", lambda: np.int32(-2**31 + 1))
    table = np.array([[1, np.nan, 3], [-np.inf, -np.inf, -np.inf], [2, 7, 7], [np.inf, 1, np.nan]])
    const = "const x: f64[4, 3] = [[1, nan, 3], [-inf, -inf, -inf], [2, 7, 7], [inf, 1, nan]] | "
    case("reduce_max", "", const + "reduce_max(x, axes=[1])", lambda: table.max(1))
    case("argmax", "", const + "argmax(x)", lambda: table.argmax(1)[:, None].astype(np.int32))
    case("argmax", "x: f64[3, 4, 2]", "argmax(x, axis=1)", lambda x: x.argmax(1)[:, None, :].astype(np.int32))


def softmax(x, axis):
    e = np.exp(x - x.real.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis):
    d = x - x.real.max(axis, keepdims=True)
    return d - np.log(np.exp(d).sum(axis, keepdims=True))


def cross_entropy(logits, labels):
    logs = log_softmax(logits, 1)
    rows = [logs[i, k] if k < logits.shape[1] else np.nan for i, k in enumerate(labels) if k >= 0]
    return np.asarray(-sum(rows) / len(rows) if rows else zeros((), logits))


def losses():
    for axis in (-1, 0, 1):
        case("softmax", "x: f64[3, 4, 2]", f"softmax(x, axis={axis})", lambda x: softmax(x, axis))
        case("log_softmax", "x: f64[3, 4, 2]", f"log_softmax(x, axis={axis})", lambda x: log_softmax(x, axis))
        case("softmax", "x: f64[3, 35, 2]", f"softmax(x, axis={axis})", lambda x: softmax(x, axis))
        case("log_softmax", "x: f64[3, 35, 2]", f"log_softmax(x, axis={axis})", lambda x: log_softmax(x, axis))
    large = np.array([[1000.0, 1001, 999], [-1000, -1001, -999]])
    const = "const x: f64[2, 3] = [[1000, 1001, 999], [-1000, -1001, -999]] | "
    case("softmax", "", const + "softmax(x)", lambda: softmax(large, 1))
    case("log_softmax", "", const + "log_softmax(x)", lambda: log_softmax(large, 1))
    for t in ("i32", "i64"):
        case("cross_entropy", f"logits: f64[6, 5], labels: {t}[6]", "cross_entropy(logits, labels)", cross_entropy)
        case("cross_entropy", f"logits: f64[33, 10], labels: {t}[33]", "cross_entropy(logits, labels)", cross_entropy)
    logits = "logits: f64[2, 3]"
    for labels in ((-1, -5), (2, -1), (0, 3)):
        case("cross_entropy", logits, f"const k: i32[2] = {list(labels)} | cross_entropy(logits, k)", lambda x: cross_entropy(x, labels),
             UNDEFINED if max(labels) >= 3 else None)
    case("mse", "y: f64[3, 4], t: f64[3, 4]", "mse(y, t)", lambda y, t: np.mean((y - t) ** 2))


def channels(v, x):
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


def batch_norm(x, scale, bias, mean, var, eps):
    return (x - channels(mean, x)) / np.sqrt(channels(var, x) + eps) * channels(scale, x) + channels(bias, x)


def batch_norm_train(x, scale, bias, eps):
    axes = (0,) + tuple(range(2, x.ndim))
    mean = x.mean(axes)
    var = ((x - channels(mean, x)) ** 2).mean(axes)
    return batch_norm(x, scale, bias, mean, var, eps), mean, var


def xxh3_of_one(letter):
    """XXH3_64 of a text of one byte with seed 0."""
    m = 2**64 - 1
    c = ord(letter)
    h = ((c << 16) | (c << 24) | c | (1 << 8)) ^ (0x396CFEB8 ^ 0xBE4BA423)
    h = (h ^ (h >> 33)) * 0xC2B2AE3D27D4EB4F & m
    h = (h ^ (h >> 29)) * 0x165667B19E3779F9 & m
    return h ^ (h >> 32)


def uniform(seed, step, key, n):
    m, gold = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & m
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & m
        return z ^ (z >> 31)
    seed = (seed + step * 0xD1342543DE82EF95) & m
    start = mix(mix((seed + gold) & m) ^ xxh3_of_one(key))
    return [(mix((start + gold * (i + 1)) & m) >> 40) * 2.0**-24 for i in range(n)]


def norms():
    vectors = lambda c, names: ", ".join(f"{n}: f64[{c}]" for n in names)
    for shape, eps in (((2, 3, 2, 2), 1e-5), ((4, 3), 0.25), ((2, 2, 3), 1e-3), ((3, 17, 5, 5), 1e-5), ((9, 20), 1e-5)):
        c = shape[1]
        case("batch_norm", f"x: {dims(shape)}, {vectors(c, ('scale', 'bias', 'mean', 'var'))}",
             f"batch_norm(x, scale, bias, mean, var, eps={eps})", lambda *a: batch_norm(*a, eps))
        case("batch_norm_train", f"x: {dims(shape)}, {vectors(c, ('scale', 'bias'))}",
             f"batch_norm_train(x, scale, bias, eps={eps})", lambda *a: batch_norm_train(*a, eps))
    case("dropout", "x: f64[3, 4]", "dropout(x, p=0.5)", lambda x: x)
    for seed, step in ((0, 0), (1, 0), (0, 1), (-3, 12345678901)):
        case("random_uniform", "", f"const a: i64 = {seed} const b: i64 = {step} | random_uniform(a, b, shape=[2, 3], key=\"k\")",
             lambda: np.array(uniform(seed, step, "k", 6), np.float32).reshape(2, 3))


def shapes():
    for t in ("f64", "i32", "i64", "bool"):
        x = f"x: {t}[3, 4, 2]"
        case("reshape", x, "reshape(x, shape=[2, -1])", lambda x: x.reshape(2, 12))
        case("flatten", x, "flatten(x)", lambda x: x.reshape(3, 8))
        case("transpose", x, "transpose(x)", lambda x: x.transpose())
        case("transpose", x, "transpose(x, perm=[1, 2, 0])", lambda x: x.transpose(1, 2, 0))
        case("slice", x, "slice(x, axes=[1, 0], starts=[-3, 1], ends=[99, -1])", lambda x: x[1:-1, -3:])
        case("slice", x, "slice(x, starts=[0, 2], ends=[2, 3])", lambda x: x[0:2, 2:3])
        case("broadcast_to", f"x: {t}[3, 1]", "broadcast_to(x, shape=[2, 3, 4])", lambda x: np.broadcast_to(x, (2, 3, 4)))
        case("concat", f"a: {t}[2, 3], b: {t}[2, 1]", "concat(a, b, a)", lambda a, b: np.concatenate((a, b, a), 1))
        case("concat", f"a: {t}[1, 3], b: {t}[2, 3]", "concat(a, b, axis=-2)", lambda a, b: np.concatenate((a, b), 0))
    case("pad", "x: f64[2, 3]", "pad(x, pads=[1, 0, 2, 1], value=0.5)", lambda x: np.pad(x, ((1, 2), (0, 1)), constant_values=0.5))
    case("pad", "x: i32[2, 3]", "pad(x, pads=[0, 1, 0, 0], value=7.0)", lambda x: np.pad(x, ((0, 0), (1, 0)), constant_values=7))
    case("layout", "x: f64[2, 3]", "layout(x)", lambda x: x)


print("# Made by tests/tools/op_values.py; do not edit.")
for part in (convolutions, deconvolutions, textbook, large_windows, columns, fewer_products, products, any_axes, pools, corners, chapter_pools, gathers, elementwise, reductions, losses, norms, shapes):
    part()
print(f"# {COUNT} cases")
