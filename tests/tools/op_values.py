#!/usr/bin/env python3
"""Values of ops, computed from their definitions with NumPy in double precision, for tests/ops/values.c.

    python3 tests/tools/op_values.py > tests/ops/values.txt

Each case is a line `= op | inputs | call` and, for each result, a line with its type and its elements. Inputs are filled by
the rule in leaf() below, which values.c repeats. Written for clarity: loops over the definition, no tricks.
"""
import itertools
import math
import re

import numpy as np

np.seterr(all="ignore")
NAMES = {"f64": np.float64, "f32": np.float32, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
TYPES = {np.dtype(t): name for name, t in NAMES.items()}


def leaf(name, dtype, shape, place):
    i = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64)
    mixed = ((i * 37 + 11 * place + 5) * 53) % 97
    if name in ("index", "labels"):
        v = mixed % 6 - 1
    elif dtype == "bool":
        v = mixed % 2
    elif dtype.startswith("i"):
        v = mixed % 23 - 11
    elif name == "var" or name.startswith("p_"):
        v = mixed / 16 + 0.5
    else:
        v = (mixed - 48) / 16
    return np.asarray(v).reshape(shape).astype(NAMES[dtype])


def number(v):
    if isinstance(v, (bool, np.bool_)):
        return str(int(v))
    if isinstance(v, np.integer):
        return str(int(v))
    v = float(v)
    return "nan" if math.isnan(v) else repr(int(v)) if v == int(v if math.isfinite(v) else 0) and abs(v) < 1e15 else repr(v)


COUNT = 0


def case(op, inputs, call, fn):
    """fn gets the inputs in order and returns one array or a tuple of them."""
    global COUNT
    args = []
    for place, (name, dtype, dims) in enumerate(re.findall(r"(\w+): (\w+)(?:\[([\d, ]+)\])?", inputs)):
        args.append(leaf(name, dtype, tuple(int(d) for d in dims.split(",")) if dims else (), place))
    got = fn(*args)
    print(f"= {op} | {inputs} | {call}")
    for r in got if isinstance(got, tuple) else (got,):
        r = np.asarray(r)
        shape = f"[{', '.join(map(str, r.shape))}]" if r.ndim else ""
        print(f"{TYPES[r.dtype]}{shape} {' '.join(number(v) for v in r.reshape(-1))}")
    COUNT += 1


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


def conv2d(x, w, b=None, s=(1, 1), p=(0, 0, 0, 0), d=(1, 1), g=1):
    n, c, h, wd = x.shape
    oc, cg, kh, kw = w.shape
    oh, ow = sizes(x.shape, (kh, kw), s, p, d)
    y = np.zeros((n, oc, oh, ow))
    for i, o, a, e in itertools.product(range(n), range(oc), range(oh), range(ow)):
        for q, k, l in itertools.product(range(cg), range(kh), range(kw)):
            r, t = a * s[0] - p[0] + k * d[0], e * s[1] - p[1] + l * d[1]
            if 0 <= r < h and 0 <= t < wd:
                y[i, o, a, e] += x[i, o // (oc // g) * cg + q, r, t] * w[o, q, k, l]
        if b is not None:
            y[i, o, a, e] += b[o]
    return y


def adjoint(linear, shape, gy):
    """The gradient of sum(linear(z) * gy) in z, element by element."""
    out = np.zeros(shape)
    for at in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[at] = 1
        out[at] = np.sum(linear(unit) * gy)
    return out


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
        if best is None or tap[2] > best[2] or (np.isnan(tap[2]) and not np.isnan(best[2])):
            best = tap
    return best


def max_pool(x, k, s, p, d, ceil=False):
    y = np.zeros(pool_shape(x, k, s, p, d, ceil))
    for at, taps in windows(x, k, s, p, d, None, ceil):
        y[at] = first_max(taps)[2] if taps else -np.inf
    return y


def max_pool_index(x, k, s, p, d, ceil=False):
    y = np.zeros(pool_shape(x, k, s, p, d, ceil), np.int32)
    for at, taps in windows(x, k, s, p, d, None, ceil):
        best = first_max(taps)
        y[at] = best[0] * x.shape[3] + best[1] if taps else -1
    return y


def avg_pool(x, k, s, p, d, ceil=False, include=False):
    y = np.zeros(pool_shape(x, k, s, p, d, ceil))
    padded = (x.shape[2] + p[0] + p[2], x.shape[3] + p[1] + p[3])
    for (i, c, a, e), taps in windows(x, k, s, p, d, None, ceil):
        count = len(taps)
        if include:
            count = sum(a * s[0] + u * d[0] < padded[0] and e * s[1] + v * d[1] < padded[1]
                        for u in range(k[0]) for v in range(k[1]))
        y[i, c, a, e] = sum(t[2] for t in taps) / count if taps else 0
    return y


def im2col(x, k, s, p, d, matrix=True):
    n, c = x.shape[:2]
    oh, ow = sizes(x.shape, k, s, p, d)
    col = np.zeros((n, c, k[0], k[1], oh, ow))
    for i, q, u, v, a, e in np.ndindex(*col.shape):
        r, t = a * s[0] - p[0] + u * d[0], e * s[1] - p[1] + v * d[1]
        if 0 <= r < x.shape[2] and 0 <= t < x.shape[3]:
            col[i, q, u, v, a, e] = x[i, q, r, t]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1) if matrix else col


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


def convolutions():
    for j, (x, k, s, p, d) in enumerate(configs(7)):
        g = [1, x[1]][j % 2]
        oc = [2, 1, 3][j % 3] * g if g > 1 else 1 + j % 3
        if x[0] * oc * np.prod(sizes(x, k, s, p, d)) > 60:
            oc = g
        w = (oc, x[1] // g) + k
        attrs = text(stride=s, pad=p, dilation=d, groups=g)
        if j % 2:
            case("conv2d", f"x: {dims(x)}, W: {dims(w)}", f"conv2d(x, W{attrs})", lambda x, w: conv2d(x, w, None, s, p, d, g))
        else:
            case("conv2d", f"x: {dims(x)}, W: {dims(w)}, b: f64[{oc}]", f"conv2d(x, W, b{attrs})",
                 lambda x, w, b: conv2d(x, w, b, s, p, d, g))
    for j, (x, k, s, p, d) in enumerate(configs(29, 40)):
        g = [x[1], 1][j % 2]
        w = (2 * g, x[1] // g) + k
        gy = (x[0], 2 * g) + sizes(x, k, s, p, d)
        attrs = text(stride=s, pad=p, dilation=d, groups=g)
        case("conv2d_grad_input", f"gy: {dims(gy)}, W: {dims(w)}", f"conv2d_grad_input(gy, W, size={list(x[2:])}{attrs})",
             lambda gy, w: adjoint(lambda z: conv2d(z, w, None, s, p, d, g), x, gy))
        case("conv2d_grad_weight", f"x: {dims(x)}, gy: {dims(gy)}", f"conv2d_grad_weight(x, gy, kernel={list(k)}{attrs})",
             lambda v, gy: adjoint(lambda z: conv2d(v, z, None, s, p, d, g), w, gy))


def deconvolutions():
    """y is the gradient of sum(conv2d(y) * x) in y, plus b."""
    for j, (y, k, s, p, d) in enumerate(configs(37, 40)):
        g = [1, y[1]][j % 2]
        c = [2, 1, 3][j % 3] * g
        x, w = (y[0], c) + sizes(y, k, s, p, d), (c, y[1] // g) + k
        smallest = tuple(s[i] * (x[2 + i] - 1) + d[i] * (k[i] - 1) + 1 - p[i] - p[i + 2] for i in range(2))
        attrs = text(stride=s, pad=p, dilation=d, groups=g) + ("" if smallest == y[2:] else text(outsize=y[2:]))
        back = lambda v, w: adjoint(lambda z: conv2d(z, w, None, s, p, d, g), y, v)
        if j % 3:
            case("deconv2d", f"x: {dims(x)}, W: {dims(w)}", f"deconv2d(x, W{attrs})", back)
        else:
            case("deconv2d", f"x: {dims(x)}, W: {dims(w)}, b: f64[{y[1]}]", f"deconv2d(x, W, b{attrs})",
                 lambda v, w, b: back(v, w) + b[None, :, None, None])
    for size, k, s, p in ((3, 3, 1, 0), (2, 4, 2, 1), (4, 2, 3, 0), (3, 5, 2, 2)):  # the chapter's size of the result
        y = s * (size - 1) + k - 2 * p
        case("deconv2d", f"x: f64[1, 2, {size}, {size}], W: f64[2, 1, {k}, {k}]", f"deconv2d(x, W{text(stride=s, pad=p)})",
             lambda v, w: adjoint(lambda z: conv2d(z, w, None, (s, s), (p,) * 4), (1, 1, y, y), v))


def chapter_pools():
    """Max and mean over windows of an image padded with zeros, written by hand."""
    def padded(x, p):
        return np.pad(x, ((0, 0), (0, 0), (p[0], p[2]), (p[1], p[3])))

    def pool(x, k, s, p, fn):
        z = padded(x, p)
        oh, ow = sizes(x.shape, k, s, p, (1, 1))
        y = np.zeros(x.shape[:2] + (oh, ow))
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
    for j, (x, k, s, p, d) in enumerate(configs(41, 9)):
        attrs = text(kernel=k, stride=s, pad=p, dilation=d, to_matrix=bool(j % 2))
        case("im2col", f"x: {dims(x)}", f"im2col(x{attrs})", lambda v: im2col(v, k, s, p, d, bool(j % 2)))
        col = im2col(np.zeros(x), k, s, p, d, bool(j % 2)).shape
        case("col2im", f"col: {dims(col)}", f"col2im(col, input_shape={list(x)}{attrs})",
             lambda v: adjoint(lambda z: im2col(z, k, s, p, d, bool(j % 2)), x, v))


def pools():
    for j, (x, k, s, p, d) in enumerate(configs(17)):
        ceil, include = bool(j % 2), bool(j // 2 % 2)
        gy = pool_shape(np.zeros(x), k, s, p, d, ceil)
        attrs = text(kernel=k, stride=s, pad=p, dilation=d, ceil=ceil)
        if j % 3 == 0:
            case("max_pool", f"x: {dims(x)}", f"max_pool(x{attrs})", lambda v: max_pool(v, k, s, p, d, ceil))
            case("max_pool_index", f"x: {dims(x)}", f"max_pool_index(x{attrs})", lambda v: max_pool_index(v, k, s, p, d, ceil))
        else:
            attrs += text(count_include_pad=include)
            case("avg_pool", f"x: {dims(x)}", f"avg_pool(x{attrs})", lambda v: avg_pool(v, k, s, p, d, ceil, include))
        if j % 4 == 0:
            attrs = text(kernel=k, stride=s, pad=p, dilation=d, ceil=ceil, count_include_pad=include)
            case("avg_pool_grad", f"gy: {dims(gy)}", f"avg_pool_grad(gy, size={list(x[2:])}{attrs})",
                 lambda v: adjoint(lambda z: avg_pool(z, k, s, p, d, ceil, include), x, v))
    nan = np.array([[[[1, np.nan, 3], [4, np.nan, -1], [2, 2, 2]]]], np.float64)
    const = "const x: f64[1, 1, 3, 3] = [[[[1, nan, 3], [4, nan, -1], [2, 2, 2]]]] | "
    for op, fn in (("max_pool", max_pool), ("max_pool_index", max_pool_index)):
        case(op, "", f"{const}{op}(x, kernel=2, stride=1)", lambda: fn(nan, (2, 2), (1, 1), (0,) * 4, (1, 1)))
    case("global_avg_pool", "x: f64[2, 3, 2, 5]", "global_avg_pool(x)", lambda x: x.mean((2, 3), keepdims=True))


def take(x, index, axis):
    y = np.zeros(index.shape)
    for at in np.ndindex(*index.shape):
        k, place = index[at], list(at)
        place[axis] = min(max(k, 0), x.shape[axis] - 1)
        y[at] = 0 if k < 0 else np.nan if k >= x.shape[axis] else x[tuple(place)]
    return y


def put(g, index, axis, size):
    shape = list(g.shape)
    shape[axis] = size
    y = np.zeros(shape)
    for at in np.ndindex(*g.shape):
        place = list(at)
        place[axis] = index[at]
        if 0 <= index[at] < size:
            y[tuple(place)] += g[at]
    return y


def gathers():
    for dtype in ("i32", "i64"):
        case("gather", f"x: f64[3, 4], index: {dtype}[3, 6]", "gather(x, index)", lambda x, i: take(x, i, 1))
        case("gather", f"x: f64[5, 2], index: {dtype}[3, 2]", "gather(x, index, axis=0)", lambda x, i: take(x, i, 0))
        case("scatter_add", f"g: f64[3, 6], index: {dtype}[3, 6]", "scatter_add(g, index, size=4)", lambda g, i: put(g, i, 1, 4))
        case("scatter_add", f"g: f64[2, 5, 2], index: {dtype}[2, 5, 2]", "scatter_add(g, index, axis=1, size=7)",
             lambda g, i: put(g, i, 1, 7))


def products():
    case("linear", "x: f64[3, 5], W: f64[5, 4]", "linear(x, W)", lambda x, w: x @ w)
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
    y = np.zeros([extent[c] for c in out])
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
    return np.where(x < lo, lo, np.where(x > hi, hi, x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elementwise():
    unary = {"neg": lambda x: -x, "abs": np.abs, "sign": np.sign, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh,
             "sigmoid": sigmoid, "relu": lambda x: np.where(np.isnan(x) | (x > 0), x, 0.0), "stop_grad": lambda x: x}
    for op, fn in unary.items():
        name = "p_x" if op in ("log", "sqrt") else "x"
        case(op, f"{name}: f64[3, 7]", f"{op}({name})", fn)
        case(op, "", SPECIAL + f"{op}(x)", lambda: fn(SX))
    for op in ("neg", "abs", "sign"):
        case(op, "x: i32[7]", f"{op}(x)", unary[op])
        case(op, "x: i64[7]", f"{op}(x)", unary[op])
    low = "const x: i32[2] = [-2147483648, 2147483647] | "
    case("neg", "", low + "-x", lambda: np.array([-2**31, -2**31 + 1], np.int32))
    case("abs", "", low + "abs(x)", lambda: np.array([-2**31, 2**31 - 1], np.int32))
    case("add", "", low + "x + x", lambda: np.array([0, -2], np.int32))
    case("mul", "", low + "x * x", lambda: np.array([0, 1], np.int32))
    binary = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
              "less": np.less, "less_equal": np.less_equal, "equal": np.equal}
    for op, fn in binary.items():
        case(op, "a: f64[3, 4], b: f64[3, 4]", f"{op}(a, b)", fn)
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
    case("cast", "", odd + "cast(x, dtype=bool)", lambda: np.array(ox) != 0)
    case("cast", "x: i32[9]", "cast(x, dtype=bool)", lambda x: x != 0)
    case("cast", "", "const x: i64[3] = [4294967297, -1, 2147483648] | cast(x, dtype=i32)", lambda: np.array([1, -1, -2**31], np.int32))


def reductions():
    for axes, keep in itertools.product(((), (0,), (1,), (-1,), (0, 2), (0, 1, 2)), (False, True)):
        axis = axes or None
        attrs = text(axes=axes, keepdims=keep)
        case("sum", "x: f64[3, 4, 2]", f"sum(x{attrs})", lambda x: x.sum(axis, keepdims=keep))
        case("mean", "x: f64[3, 4, 2]", f"mean(x{attrs})", lambda x: x.mean(axis, keepdims=keep))
        case("reduce_max", "x: f64[3, 4, 2]", f"reduce_max(x{attrs})", lambda x: x.max(axis, keepdims=keep))
    for t in ("i32", "i64"):
        case("sum", f"x: {t}[3, 4]", "sum(x, axes=[1])", lambda x: x.sum(1, dtype=x.dtype))
        case("reduce_max", f"x: {t}[3, 4]", "reduce_max(x, axes=[0])", lambda x: x.max(0))
        case("argmax", f"x: {t}[3, 5]", "argmax(x, axis=0)", lambda x: x.argmax(0)[None, :].astype(np.int32))
    case("sum", "x: f64", "sum(x)", lambda x: x)
    case("sum", "", "const x: i32[2] = [2147483647, 2] | sum(x)", lambda: np.int32(-2**31 + 1))
    table = np.array([[1, np.nan, 3], [-np.inf, -np.inf, -np.inf], [2, 7, 7], [np.inf, 1, np.nan]])
    const = "const x: f64[4, 3] = [[1, nan, 3], [-inf, -inf, -inf], [2, 7, 7], [inf, 1, nan]] | "
    case("reduce_max", "", const + "reduce_max(x, axes=[1])", lambda: table.max(1))
    case("argmax", "", const + "argmax(x)", lambda: table.argmax(1)[:, None].astype(np.int32))
    case("argmax", "x: f64[3, 4, 2]", "argmax(x, axis=1)", lambda x: x.argmax(1)[:, None, :].astype(np.int32))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis):
    d = x - x.max(axis, keepdims=True)
    return d - np.log(np.exp(d).sum(axis, keepdims=True))


def cross_entropy(logits, labels):
    logs = log_softmax(logits, 1)
    rows = [logs[i, k] if k < logits.shape[1] else np.nan for i, k in enumerate(labels) if k >= 0]
    return np.float64(-sum(rows) / len(rows) if rows else 0)


def losses():
    for axis in (-1, 0, 1):
        case("softmax", "x: f64[3, 4, 2]", f"softmax(x, axis={axis})", lambda x: softmax(x, axis))
        case("log_softmax", "x: f64[3, 4, 2]", f"log_softmax(x, axis={axis})", lambda x: log_softmax(x, axis))
    large = np.array([[1000.0, 1001, 999], [-1000, -1001, -999]])
    const = "const x: f64[2, 3] = [[1000, 1001, 999], [-1000, -1001, -999]] | "
    case("softmax", "", const + "softmax(x)", lambda: softmax(large, 1))
    case("log_softmax", "", const + "log_softmax(x)", lambda: log_softmax(large, 1))
    for t in ("i32", "i64"):
        case("cross_entropy", f"logits: f64[6, 5], labels: {t}[6]", "cross_entropy(logits, labels)", cross_entropy)
    logits = "logits: f64[2, 3]"
    for labels in ((-1, -5), (2, -1), (0, 3)):
        case("cross_entropy", logits, f"const k: i32[2] = {list(labels)} | cross_entropy(logits, k)", lambda x: cross_entropy(x, labels))
    case("mse", "y: f64[3, 4], t: f64[3, 4]", "mse(y, t)", lambda y, t: np.mean((y - t) ** 2))


def channels(v, x):
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


def batch_norm(x, scale, bias, mean, var, eps):
    return (x - channels(mean, x)) / np.sqrt(channels(var, x) + eps) * channels(scale, x) + channels(bias, x)


def batch_norm_train(x, scale, bias, eps):
    axes = (0,) + tuple(range(2, x.ndim))
    mean, var = x.mean(axes), x.var(axes)
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
    for shape, eps in (((2, 3, 2, 2), 1e-5), ((4, 3), 0.25), ((2, 2, 3), 1e-3)):
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
for part in (convolutions, deconvolutions, columns, products, any_axes, pools, chapter_pools, gathers, elementwise, reductions, losses, norms, shapes):
    part()
print(f"# {COUNT} cases")
