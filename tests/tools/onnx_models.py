#!/usr/bin/env python3
"""Makes tests/onnx: small models, their inputs (NAME.IN.npy) and what ONNX Runtime gives for them
(NAME.OUT.npy), or the reference of the package onnx where it has none. Needs the packages onnx, onnxruntime and numpy: python3 tests/tools/onnx_models.py tests/onnx"""
import os, sys
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

out = sys.argv[1]
rng = np.random.default_rng(7)


def w(*shape, dtype=np.float32):
    return (rng.standard_normal(shape) * 0.5).astype(dtype)


def model(name, nodes, inputs, outputs, tensors, opset=20, ir=10, feeds=None, check=True, graph="main_graph"):
    """inputs: name -> (type, shape); outputs: names; tensors: name -> array or TensorProto"""
    g = h.make_graph(nodes, graph, [h.make_tensor_value_info(k, t, s) for k, (t, s) in inputs.items()],
                     [h.make_tensor_value_info(k, t, s) for k, (t, s) in outputs.items()],
                     [v if isinstance(v, onnx.TensorProto) else nh.from_array(v, k) for k, v in tensors.items()])
    m = h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=ir, producer_name="onnx_models")
    path = os.path.join(out, name + ".onnx")
    onnx.save(m, path)
    if feeds is None:
        return m
    if check:
        onnx.checker.check_model(m)
    for k, v in feeds.items():
        np.save(os.path.join(out, f"{name}.{k}.npy"), v)
    for k, v in zip(outputs, ort.InferenceSession(m.SerializeToString()).run(None, feeds)):
        np.save(os.path.join(out, f"{name}.{k}.npy"), v)
    return m


# What torch writes with its names, batch left open, the linear weight turned.
model("digits", [
    h.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["/conv/Conv_output_0"], "/conv/Conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    h.make_node("BatchNormalization", ["/conv/Conv_output_0", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"],
                ["/bn/out"], "/bn/BatchNormalization", epsilon=1e-5, momentum=0.9),
    h.make_node("Relu", ["/bn/out"], ["/relu/out"], "/relu/Relu"),
    h.make_node("MaxPool", ["/relu/out"], ["/pool/out"], "/pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    h.make_node("Flatten", ["/pool/out"], ["/flat"], "/Flatten", axis=1),
    h.make_node("Gemm", ["/flat", "fc.weight", "fc.bias"], ["logits"], "/fc/Gemm", transB=1)],
    {"x": (T.FLOAT, ["batch", 1, 8, 8])}, {"logits": (T.FLOAT, ["batch", 5])},
    {"conv.weight": w(6, 1, 3, 3), "conv.bias": w(6), "bn.weight": w(6) + 1, "bn.bias": w(6), "bn.running_mean": w(6),
     "bn.running_var": np.abs(w(6)) + 0.5, "fc.weight": w(5, 96), "fc.bias": w(5)}, feeds={"x": w(2, 1, 8, 8)})

# Shapes that are computed, as TorchScript exports do it.
model("shapes", [
    h.make_node("Shape", ["x"], ["s"]), h.make_node("Constant", [], ["zero"], value=nh.from_array(np.array(0, np.int64))),
    h.make_node("Gather", ["s", "zero"], ["n"], axis=0), h.make_node("Constant", [], ["ax"], value_ints=[0]),
    h.make_node("Unsqueeze", ["n", "ax"], ["n1"]), h.make_node("Constant", [], ["rest"], value_ints=[-1]),
    h.make_node("Concat", ["n1", "rest"], ["to"], axis=0), h.make_node("Reshape", ["x", "to"], ["flat"]),
    h.make_node("Slice", ["s", "two", "four"], ["hw"]), h.make_node("Cast", ["hw"], ["hwf"], to=T.FLOAT),
    h.make_node("Mul", ["hwf", "by"], ["size"]), h.make_node("Cast", ["size"], ["sizei"], to=T.INT64),
    h.make_node("Slice", ["s", "nil", "two"], ["nc"]), h.make_node("Concat", ["nc", "sizei"], ["sizes"], axis=0),
    h.make_node("Resize", ["x", "", "", "sizes"], ["up"], mode="linear", coordinate_transformation_mode="half_pixel"),
    h.make_node("Expand", ["flat", "to3"], ["wide"])],
    {"x": (T.FLOAT, [2, 3, 2, 4])}, {"flat": (T.FLOAT, [2, 24]), "up": (T.FLOAT, [2, 3, 4, 6]), "wide": (T.FLOAT, [3, 2, 24])},
    {"nil": np.array([0]), "two": np.array([2]), "four": np.array([4]), "by": np.array([2, 1.5], np.float32), "to3": np.array([3, 1, 1])},
    feeds={"x": w(2, 3, 2, 4)})

# Elements in every field that has some, and elements that are no floats.
f = h.make_tensor("f", T.FLOAT, [2, 3], [1, -2, 3.5, 0, 5, 6])
d = h.make_tensor("d", T.DOUBLE, [3], [1.5, 2.5, -3.5])
i = h.make_tensor("i", T.INT32, [3], [1, -2, 3])
l = h.make_tensor("l", T.INT64, [3], [1, -2, 1 << 40])
b = h.make_tensor("b", T.BOOL, [3], [True, False, True])
model("fields", [h.make_node("Add", ["x", "f"], ["xf"]), h.make_node("Where", ["b", "xf", "x"], ["y"]),
                 h.make_node("Mul", ["xd", "d"], ["yd"]), h.make_node("Add", ["xi", "i"], ["yi"]), h.make_node("Add", ["xl", "l"], ["yl"])],
      {"x": (T.FLOAT, [2, 3]), "xd": (T.DOUBLE, [2, 3]), "xi": (T.INT32, [3]), "xl": (T.INT64, [3])},
      {"y": (T.FLOAT, [2, 3]), "yd": (T.DOUBLE, [2, 3]), "yi": (T.INT32, [3]), "yl": (T.INT64, [3])},
      {"f": f, "d": d, "i": i, "l": l, "b": b},
      feeds={"x": w(2, 3), "xd": w(2, 3, dtype=np.float64), "xi": np.array([1, 2, 3], np.int32), "xl": np.array([1, 2, 3])})

# Attributes that became operands, softmax over flattened axes, a grouped convolution, steps, borders.
model("old", [h.make_node("Conv", ["x", "w"], ["c"], group=2, auto_pad="SAME_UPPER", strides=[2, 2]),
              h.make_node("Clip", ["c"], ["k"], min=-0.5, max=0.75), h.make_node("Dropout", ["k"], ["dr"], ratio=0.3),
              h.make_node("Squeeze", ["one"], ["sq"], axes=[0]), h.make_node("Add", ["dr", "sq"], ["a"]),
              h.make_node("Softmax", ["a"], ["p"]), h.make_node("ReduceSum", ["p"], ["r"], axes=[2, 3], keepdims=0),
              h.make_node("Pad", ["r"], ["y"], pads=[0, 1, 0, 2], value=0.25)],
      {"x": (T.FLOAT, [2, 4, 7, 6])}, {"y": (T.FLOAT, [2, 9])}, {"w": w(6, 2, 3, 2), "one": w(1, 1, 1, 1)}, opset=9, ir=4, feeds={"x": w(2, 4, 7, 6)})

# Elements in a file of their own.
m = model("apart", [h.make_node("MatMul", ["x", "w"], ["h"]), h.make_node("Add", ["h", "bias"], ["s"]), h.make_node("Tanh", ["s"], ["y"])],
          {"x": (T.FLOAT, [3, 16])}, {"y": (T.FLOAT, [3, 24])}, {"w": w(16, 24), "bias": w(24)}, feeds={"x": w(3, 16)})
if os.path.exists(os.path.join(out, "apart.bin")):
    os.remove(os.path.join(out, "apart.bin"))
onnx.save_model(m, os.path.join(out, "apart.onnx"), save_as_external_data=True, all_tensors_to_one_file=True, location="apart.bin", size_threshold=0)

# Weights that are turned, reshaped or repeated before they are used, as exports without constant folding have them.
others, rng = rng, np.random.default_rng(7)
model("turned", [
    h.make_node("Transpose", ["fc.weight"], ["w"], perm=[1, 0]), h.make_node("MatMul", ["x", "w"], ["h"]),
    h.make_node("Reshape", ["bias", "row"], ["b"]), h.make_node("Add", ["h", "b"], ["s"]),
    h.make_node("Expand", ["token", "to"], ["t"]), h.make_node("Concat", ["t", "s"], ["y"], axis=1)],
    {"x": (T.FLOAT, [2, 3, 4])}, {"y": (T.FLOAT, [2, 4, 5])},
    {"fc.weight": w(5, 4), "bias": w(5), "token": w(1, 1, 5), "row": np.array([1, 1, 5]), "to": np.array([2, 1, 5])}, feeds={"x": w(2, 3, 4)})
rng = others

# Nodes that cannot be read, two kinds and an attribute; one output that does not need them.
model("refused", [h.make_node("Bernoulli", ["x"], ["a"], "coin"), h.make_node("NonZero", ["x"], ["b"], "places"),
                  h.make_node("Relu", ["x"], ["fine"], "relu"), h.make_node("Dropout", ["a"], ["u"], "after"),
                  h.make_node("LeakyRelu", ["fine"], ["odd"], "odd", alpha=0.1, beta=2.0)],
      {"x": (T.FLOAT, [3, 3])}, {"u": (T.FLOAT, [3, 3]), "b": (T.INT64, [2, None]), "fine": (T.FLOAT, [3, 3]), "odd": (T.FLOAT, [3, 3])}, {})

# A shape that is an input, open dimensions with and without names.
model("asked", [h.make_node("Reshape", ["x", "shape"], ["y"], "view")],
      {"x": (T.FLOAT, ["rows", None]), "shape": (T.INT64, [2])}, {"y": (T.FLOAT, [None, None])}, {})
np.save(os.path.join(out, "asked.shape.npy"), np.array([4, -1]))
# Arrays as ONNX's own tests have them: as bytes, as numbers, of no type of ours.
for name, tensor in {"digits.x": nh.from_array(np.load(os.path.join(out, "digits.x.npy")), "x"),
                     "asked.shape": h.make_tensor("shape", T.INT64, [2], [4, -1]),
                     "half.x": nh.from_array(np.array([1.5, -2], np.float16), "x")}.items():
    with open(os.path.join(out, name + ".pb"), "wb") as f:
        f.write(tensor.SerializeToString())
model("half", [h.make_node("Relu", ["x"], ["y"])], {"x": (T.FLOAT16, [2])}, {"y": (T.FLOAT16, [2])}, {})
model("ancient", [h.make_node("Relu", ["x"], ["y"])], {"x": (T.FLOAT, [2])}, {"y": (T.FLOAT, [2])}, {}, opset=5, ir=3)

# A branch that is known, a list of nothing, names that are no names of ours.
then = h.make_graph([h.make_node("Mul", ["x", "x"], ["t"])], "then", [], [h.make_tensor_value_info("t", T.FLOAT, [2, 3])])
other = h.make_graph([h.make_node("Neg", ["x"], ["e"])], "else", [], [h.make_tensor_value_info("e", T.FLOAT, [2, 3])])
model("branch", [h.make_node("Constant", [], ["yes"], value=nh.from_array(np.array(True))), h.make_node("If", ["yes"], ["v`1"], "if", then_branch=then, else_branch=other),
                 h.make_node("Constant", [], ["none"], value=nh.from_array(np.zeros(0, np.int64))), 
                 h.make_node("ReduceSum", ["v`1", "none"], ["all"], keepdims=0), h.make_node("Reshape", ["all", "none"], ["y"])],
      {"x": (T.FLOAT, [2, 3])}, {"y": (T.FLOAT, [])}, {}, feeds={"x": w(2, 3)}, check=False)

# Whole numbers, angles, the error function, remainders, places that are computed, losses with weights and ignored labels.
s = rng.uniform(-0.9, 0.9, (3, 4, 5)).astype(np.float32)
model("classes", [
    h.make_node("Mul", ["x", "three"], ["x3"]), h.make_node("Floor", ["x"], ["fl"]), h.make_node("Ceil", ["x"], ["ce"]), h.make_node("Round", ["x3"], ["ro"]),
    h.make_node("Erf", ["x"], ["er"]), h.make_node("Gelu", ["x"], ["ge"]),
    h.make_node("Asin", ["x"], ["as"]), h.make_node("Acos", ["x"], ["ac"]), h.make_node("Atan", ["x3"], ["at"]),
    h.make_node("Mod", ["x3", "part"], ["mo"], fmod=1), h.make_node("Sum", ["fl", "ce", "ro", "er", "ge", "as", "ac", "at", "mo"], ["y"]),
    h.make_node("Mod", ["labels", "two"], ["m"]), h.make_node("Gather", ["x", "m"], ["g"], axis=1),
    h.make_node("SoftmaxCrossEntropyLoss", ["x", "labels", "weights"], ["loss", "logs"], ignore_index=-1),
    h.make_node("NegativeLogLikelihoodLoss", ["logs", "labels"], ["each"], reduction="none", ignore_index=-1)],
    {"x": (T.FLOAT, [3, 4, 5]), "labels": (T.INT64, [3, 5])},
    {"y": (T.FLOAT, [3, 4, 5]), "g": (T.FLOAT, [3, 3, 5, 5]), "loss": (T.FLOAT, []), "each": (T.FLOAT, [3, 5])},
    {"three": np.array(3, np.float32), "part": np.array(0.37, np.float32), "two": np.array(2), "weights": np.abs(w(4)) + np.float32(0.1)},
    feeds={"x": s, "labels": rng.integers(-1, 4, (3, 5))})

# Places over several axes, computed ones among them; elements put there, added, or put in the place of others.
model("places", [
    h.make_node("GatherND", ["x", "at"], ["picked"], batch_dims=1), h.make_node("Add", ["at", "one"], ["next"]),
    h.make_node("ScatterND", ["x", "pairs", "rows"], ["put"]),
    h.make_node("ScatterElements", ["x", "next", "few"], ["added"], axis=2, reduction="add")],
    {"x": (T.FLOAT, [2, 3, 5]), "at": (T.INT64, [2, 2, 2]), "rows": (T.FLOAT, [2, 5]), "few": (T.FLOAT, [2, 2, 2])},
    {"picked": (T.FLOAT, [2, 2]), "put": (T.FLOAT, [2, 3, 5]), "added": (T.FLOAT, [2, 3, 5])},
    {"one": np.array(1), "pairs": np.array([[1, 0], [0, -1]])},
    feeds={"x": w(2, 3, 5), "at": np.array([[[0, 1], [2, -2]], [[1, 3], [-1, 0]]]), "rows": w(2, 5), "few": w(2, 2, 2)})

# Sequences in both directions that end early, with weights and peepholes; a GRU that resets behind the product, limited.
model("steps", [
    h.make_node("LSTM", ["x", "w", "r", "b", "n", "", "c0", "p"], ["l", "lh", "lc"], "lstm", hidden_size=4, direction="bidirectional"),
    h.make_node("Slice", ["l", "zero", "one", "one"], ["lh2"]), h.make_node("Squeeze", ["lh2", "one"], ["ls"]),
    h.make_node("GRU", ["ls", "gw", "gr", "gb"], ["g", "gh"], "gru", hidden_size=3, direction="reverse", linear_before_reset=1, clip=0.6,
                activations=["HardSigmoid", "Softsign"], activation_alpha=[0.3], activation_beta=[0.4]),
    h.make_node("RNN", ["x", "w1", "r1"], ["", "rh"], "rnn", hidden_size=2, activations=["LeakyRelu"], activation_alpha=[0.2])],
    {"x": (T.FLOAT, [5, 3, 2]), "n": (T.INT32, [3])},
    {"l": (T.FLOAT, [5, 2, 3, 4]), "lc": (T.FLOAT, [2, 3, 4]), "g": (T.FLOAT, [5, 1, 3, 3]), "rh": (T.FLOAT, [1, 3, 2])},
    {"w": w(2, 16, 2), "r": w(2, 16, 4), "b": w(2, 32), "c0": w(2, 3, 4), "p": w(2, 12), "gw": w(1, 9, 4), "gr": w(1, 9, 3), "gb": w(1, 18),
     "w1": w(1, 2, 2), "r1": w(1, 2, 2), "zero": np.array([0]), "one": np.array([1])},
    feeds={"x": w(5, 3, 2), "n": np.array([5, 2, 4], np.int32)}, opset=17, ir=8)

# Heads that share keys, an earlier cache, a mask that is short; pairs that are turned; products of three; whole numbers that are picked.
model("heads", [
    h.make_node("RotaryEmbedding", ["q", "cos", "sin", "ids"], ["qr"], "rope", num_heads=4),
    h.make_node("Attention", ["qr", "k", "v", "mask", "pk", "pv"], ["y", "keys", "values"], "attention", q_num_heads=4, kv_num_heads=2, is_causal=1),
    h.make_node("Einsum", ["y", "m", "d"], ["e"], equation="bij,jk,kk->bik"),
    h.make_node("Gather", ["longs", "ids"], ["g"])],
    {"q": (T.FLOAT, [2, 3, 16]), "k": (T.FLOAT, [2, 3, 8]), "v": (T.FLOAT, [2, 3, 8]), "mask": (T.BOOL, [3, 5]),
     "pk": (T.FLOAT, [2, 2, 2, 4]), "pv": (T.FLOAT, [2, 2, 2, 4]), "ids": (T.INT64, [2, 3])},
    {"y": (T.FLOAT, [2, 3, 16]), "values": (T.FLOAT, [2, 2, 5, 4]), "e": (T.FLOAT, [2, 3, 5]), "g": (T.INT64, [2, 3])},
    {"cos": np.cos(np.arange(20).reshape(10, 2)).astype(np.float32), "sin": np.sin(np.arange(20).reshape(10, 2)).astype(np.float32),
     "m": w(16, 5), "d": w(5, 5), "longs": (1 << 62) + 7 * np.arange(-5, 5)},
    feeds={"q": w(2, 3, 16), "k": w(2, 3, 8), "v": w(2, 3, 8), "mask": rng.random((3, 5)) < 0.7, "pk": w(2, 2, 2, 4), "pv": w(2, 2, 2, 4),
           "ids": np.array([[2, 3, 4], [7, 0, 9]])}, opset=23)

# Angles of any size, a window, spectra of frames and back.
model("waves", [
    h.make_node("Sin", ["x"], ["si"]), h.make_node("Cos", ["x"], ["co"]), h.make_node("Tan", ["x"], ["y"]),
    h.make_node("Mul", ["si", "si"], ["s2"]), h.make_node("Mul", ["co", "co"], ["c2"]), h.make_node("Add", ["s2", "c2"], ["one"]),
    h.make_node("HannWindow", ["n"], ["hann"]), h.make_node("STFT", ["wave", "step", "hann"], ["s"]),
    h.make_node("DFT", ["s", "n"], ["d"], axis=2), h.make_node("DFT", ["d"], ["back"], axis=1, inverse=1)],
    {"x": (T.FLOAT, [2, 5]), "wave": (T.FLOAT, [2, 20, 1])},
    {"y": (T.FLOAT, [2, 5]), "one": (T.FLOAT, [2, 5]), "s": (T.FLOAT, [2, 4, 5, 2]), "back": (T.FLOAT, [2, 4, 8, 2])},
    {"n": np.array(8), "step": np.array(4)}, feeds={"x": w(2, 5) * np.array([1, 10, 1e3, 1e5, 1e6], np.float32), "wave": w(2, 20, 1)}, opset=17, ir=8)

# Images of three axes: planes as channels, poolings of planes and of depth, a border that is not even.
model("solid", [
    h.make_node("Conv", ["x", "w", "b"], ["c"], group=2, pads=[1, 0, 1, 1, 1, 0], strides=[1, 2, 1]), h.make_node("Relu", ["c"], ["r"]),
    h.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2, 2], strides=[2, 1, 1], ceil_mode=1),
    h.make_node("AveragePool", ["r"], ["a"], kernel_shape=[3, 1, 2], pads=[1, 0, 0, 1, 0, 1]),
    h.make_node("ConvTranspose", ["m", "u", "v"], ["y"], strides=[2, 1, 3], output_padding=[1, 0, 2], pads=[0, 1, 1, 1, 0, 0])],
    {"x": (T.FLOAT, [2, 4, 5, 6, 4])}, {"a": (T.FLOAT, [2, 6, 5, 3, 4]), "y": (T.FLOAT, None)},
    {"w": w(6, 2, 3, 2, 2), "b": w(6), "u": w(6, 3, 2, 2, 3), "v": w(3)}, feeds={"x": w(2, 4, 5, 6, 4)}, opset=19, ir=9, check=False)

# Values between places, in every way of bringing them inside; an affine grid; regions; windows whose taps are moved.
model("between", [
    h.make_node("AffineGrid", ["theta", "size"], ["grid"], align_corners=1), h.make_node("GridSample", ["x", "grid"], ["l"], mode="linear", padding_mode="reflection"),
    h.make_node("GridSample", ["x", "grid"], ["c"], mode="cubic", padding_mode="border", align_corners=1), h.make_node("GridSample", ["x", "grid"], ["z"], mode="nearest"),
    h.make_node("Sum", ["l", "c", "z"], ["y"]),
    h.make_node("RoiAlign", ["x", "rois", "of"], ["r"], output_height=2, output_width=3, sampling_ratio=2, spatial_scale=0.9),
    h.make_node("DeformConv", ["x", "w", "moved", "b"], ["d"], "deform", group=2, offset_group=2, strides=[1, 2], pads=[1, 0, 1, 0], dilations=[1, 2])],
    {"x": (T.FLOAT, [2, 4, 6, 7]), "theta": (T.FLOAT, [2, 2, 3]), "moved": (T.FLOAT, [2, 24, 6, 3])},
    {"y": (T.FLOAT, [2, 4, 5, 4]), "r": (T.FLOAT, [3, 4, 2, 3]), "d": (T.FLOAT, [2, 6, 6, 3])},
    {"size": np.array([2, 4, 5, 4]), "rois": np.array([[0, 0, 5, 6], [1.3, 2.2, 7.7, 6.1], [-2, -1, 4, 3]], np.float32), "of": np.array([0, 1, 1]),
     "w": w(6, 2, 3, 2), "b": w(6)}, feeds={"x": w(2, 4, 6, 7), "theta": w(2, 2, 3) * 3, "moved": w(2, 24, 6, 3)}, opset=20, ir=9)

# Before version 4 of the format initializers are inputs too, also those that nobody needs.
model("spare", [h.make_node("Relu", ["x"], ["y"])], {"x": (T.FLOAT, [2, 4]), "spare": (T.FLOAT, [3]), "odd": (T.UINT8, [1])}, {"y": (T.FLOAT, [2, 4])},
      {"spare": np.ones(3, np.float32), "odd": np.zeros(1, np.uint8)}, opset=8, ir=3)

# The largest and the least, equal ones among them, along any axis.
s = rng.integers(0, 5, (3, 9, 4)).astype(np.float32)
s[0, :3, 0] = [np.inf, -np.inf, 1e-45]
model("best", [h.make_node("TopK", ["x", "k"], ["y", "i"], axis=1), h.make_node("TopK", ["x", "k"], ["z", "j"], axis=0, largest=0),
               h.make_node("TopK", ["long", "k"], ["w", "l"])],
      {"x": (T.FLOAT, [3, 9, 4]), "long": (T.INT64, [2, 7])},
      {"y": (T.FLOAT, [3, 3, 4]), "i": (T.INT64, [3, 3, 4]), "z": (T.FLOAT, [3, 9, 4]), "j": (T.INT64, [3, 9, 4]), "w": (T.INT64, [2, 3]), "l": (T.INT64, [2, 3])},
      {"k": np.array([3])}, feeds={"x": s, "long": (1 << 60) + rng.integers(0, 4, (2, 7))})

# A function of the model's own, in another of them: attributes that a call gives, leaves out or hands on, an operand left out; loops that
# are written out.
def ref(node, **names):
    for k, v in names.items():
        a = node.attribute.add()
        a.name, a.ref_attr_name, a.type = k, v, onnx.AttributeProto.FLOAT
    return node


inner = h.make_function("own", "bent", ["x", "b"], ["y"], [
    ref(h.make_node("LeakyRelu", ["x"], ["t"]), alpha="slope"), ref(h.make_node("Elu", ["t"], ["e"]), alpha="size"), h.make_node("Clip", ["e", "b"], ["y"])],
    [h.make_opsetid("", 17)], ["slope"], [h.make_attribute("size", 0.5)])
outer = h.make_function("own", "twice", ["x"], ["y"], [
    ref(h.make_node("bent", ["x"], ["t"], domain="own"), slope="slope"), h.make_node("bent", ["t", "low"], ["z"], domain="own", slope=0.25, size=2.0),
    h.make_node("Sqrt", ["four"], ["two"]), h.make_node("Mul", ["z", "two"], ["y"])], [h.make_opsetid("", 17), h.make_opsetid("own", 1)], ["slope"])
outer.node.insert(0, h.make_node("Constant", [], ["low"], value=nh.from_array(np.array(-0.75, np.float32))))
outer.node.insert(0, h.make_node("Constant", [], ["four"], value=nh.from_array(np.array(4, np.float32))))
turn = h.make_graph([h.make_node("Cast", ["i"], ["f"], to=T.FLOAT), h.make_node("Mul", ["s", "w"], ["m"]), h.make_node("Add", ["m", "f"], ["t"]),
                     h.make_node("Less", ["i", "last"], ["go"]), h.make_node("Neg", ["t"], ["ng"])], "turn",
                    [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("c", T.BOOL, []), h.make_tensor_value_info("s", T.FLOAT, [2, 3])],
                    [h.make_tensor_value_info("go", T.BOOL, []), h.make_tensor_value_info("t", T.FLOAT, [2, 3]), h.make_tensor_value_info("ng", T.FLOAT, [2, 3])])
step = h.make_graph([h.make_node("Add", ["a", "x"], ["o"]), h.make_node("Tanh", ["o"], ["th"])], "step",
                    [h.make_tensor_value_info("a", T.FLOAT, [2]), h.make_tensor_value_info("x", T.FLOAT, [2])],
                    [h.make_tensor_value_info("o", T.FLOAT, [2]), h.make_tensor_value_info("th", T.FLOAT, [2])])
m = model("calls", [
    h.make_node("twice", ["x"], ["b"], "first", domain="own", slope=0.1), h.make_node("twice", ["b"], ["y"], "second", domain="own", slope=0.3),
    h.make_node("Loop", ["n", "", "b"], ["l", "all"], "loop", body=turn),
    h.make_node("Scan", ["zero", "b"], ["sum", "parts"], "scan", body=step, num_scan_inputs=1, scan_input_axes=[1], scan_input_directions=[1],
                scan_output_axes=[1], scan_output_directions=[1])],
    {"x": (T.FLOAT, [2, 3])}, {"y": (T.FLOAT, [2, 3]), "l": (T.FLOAT, [2, 3]), "all": (T.FLOAT, None), "sum": (T.FLOAT, [2]), "parts": (T.FLOAT, [2, 3])},
    {"n": np.array(9), "last": np.array(3), "w": w(2, 3), "zero": np.zeros(2, np.float32)}, opset=17, ir=8)
m.opset_import.append(h.make_opsetid("own", 1))
m.functions.extend([inner, outer])
onnx.save(m, os.path.join(out, "calls.onnx"))
x = w(2, 3)
np.save(os.path.join(out, "calls.x.npy"), x)
for k, v in zip(["y", "l", "all", "sum", "parts"], ort.InferenceSession(m.SerializeToString()).run(None, {"x": x})):
    np.save(os.path.join(out, f"calls.{k}.npy"), v)

# A convolution that goes on from what it saw; attention whose state decays by head or by row, and learns what it does not say yet.
rng = np.random.default_rng(8)
model("tokens", [
    h.make_node("CausalConvWithState", ["x", "w", "b", "seen"], ["c", "last"], "conv", activation="silu"), h.make_node("Transpose", ["c"], ["q"], perm=[0, 2, 1]),
    h.make_node("LinearAttention", ["q", "k", "v", "past", "g", "beta"], ["y", "next"], "attention", q_num_heads=4, kv_num_heads=2, update_rule="gated_delta"),
    h.make_node("LinearAttention", ["q", "k", "v", "", "rows"], ["z", "zs"], "rows", q_num_heads=4, kv_num_heads=2, update_rule="gated", scale=0.5),
    h.make_node("CausalConvWithState", ["x", "wide"], ["s", "more"], "short")],
    {"x": (T.FLOAT, [2, 12, 5]), "seen": (T.FLOAT, [2, 12, 3]), "k": (T.FLOAT, [2, 5, 6]), "v": (T.FLOAT, [2, 5, 8]), "past": (T.FLOAT, [2, 2, 3, 4]),
     "g": (T.FLOAT, [2, 5, 2]), "beta": (T.FLOAT, [2, 5, 1]), "rows": (T.FLOAT, [2, 5, 6])},
    {"last": (T.FLOAT, [2, 12, 3]), "y": (T.FLOAT, [2, 5, 16]), "next": (T.FLOAT, [2, 2, 3, 4]), "z": (T.FLOAT, [2, 5, 16]), "zs": (T.FLOAT, [2, 2, 3, 4]),
     "s": (T.FLOAT, [2, 12, 5]), "more": (T.FLOAT, [2, 12, 7])},
    {"w": w(12, 1, 4), "b": w(12), "wide": w(12, 1, 8)},
    feeds={"x": w(2, 12, 5), "seen": w(2, 12, 3), "k": w(2, 5, 6), "v": w(2, 5, 8), "past": w(2, 2, 3, 4), "g": -np.abs(w(2, 5, 2)), "beta": np.abs(w(2, 5, 1)),
           "rows": -np.abs(w(2, 5, 6))}, opset=27, ir=12)

# Loops as they were before version 9: an axis of batches, which end early, in both directions.
model("batches", [h.make_node("Scan", ["lens", "start", "x", "u"], ["sum", "parts"], "scan", body=h.make_graph(
    [h.make_node("Mul", ["a", "p"], ["m"]), h.make_node("Add", ["m", "r"], ["o"]), h.make_node("Tanh", ["o"], ["th"])], "step",
    [h.make_tensor_value_info(k, T.FLOAT, [2]) for k in ["a", "p", "r"]], [h.make_tensor_value_info(k, T.FLOAT, [2]) for k in ["o", "th"]]),
    num_scan_inputs=2, directions=[0, 1])],
    {"start": (T.FLOAT, [2, 2]), "x": (T.FLOAT, [2, 4, 2]), "u": (T.FLOAT, [2, 4, 2])}, {"sum": (T.FLOAT, [2, 2]), "parts": (T.FLOAT, [2, 4, 2])},
    {"lens": np.array([4, 2])}, feeds={"start": w(2, 2), "x": w(2, 4, 2), "u": w(2, 4, 2)}, opset=8, ir=4)

# Places of maxima in volumes; windows that reach beyond the border; four places along each of three axes; gates that are limited, a cell that is not.
model("windows", [
    h.make_node("MaxPool", ["x"], ["m", "i"], kernel_shape=[2, 2, 3], strides=[1, 2, 2], pads=[1, 0, 1, 0, 1, 0], ceil_mode=1),
    h.make_node("MaxPool", ["x"], ["n", "j"], kernel_shape=[2, 2, 2], storage_order=1), h.make_node("LpPool", ["x"], ["l"], kernel_shape=[2, 3, 2], strides=[2, 2, 2], ceil_mode=1, p=3),
    h.make_node("LSTM", ["s", "w", "r", "b", "", "", "", "p"], ["y", "h", "c"], hidden_size=3, clip=0.4)],
    {"x": (T.FLOAT, [2, 2, 4, 6, 5]), "s": (T.FLOAT, [4, 2, 3])},
    {"m": (T.FLOAT, None), "i": (T.INT64, None), "j": (T.INT64, None), "l": (T.FLOAT, None), "y": (T.FLOAT, [4, 1, 2, 3]), "c": (T.FLOAT, [1, 2, 3])},
    {"w": w(1, 12, 3), "r": w(1, 12, 3), "b": w(1, 24), "p": w(1, 9)}, feeds={"x": np.round(w(2, 2, 4, 6, 5) * 8), "s": w(4, 2, 3) * 4}, opset=22, ir=10, check=False)

# Regions with as many samples as they are large, or whose largest elements are taken; determinants, of matrices that lack a rank among them.
d = w(3, 6, 6)
d[1, 4] = d[1, 2]
d[2, :, 0] = 0
model("regions", [
    h.make_node("RoiAlign", ["x", "rois", "of"], ["a"], output_height=2, output_width=3, spatial_scale=0.9),
    h.make_node("MaxRoiPool", ["x", "r"], ["m"], pooled_shape=[3, 2], spatial_scale=0.5), h.make_node("Det", ["d"], ["y"], "det"), h.make_node("Det", ["t"], ["z"])],
    {"x": (T.FLOAT, [2, 3, 6, 7]), "rois": (T.FLOAT, [4, 4]), "r": (T.FLOAT, [4, 5]), "d": (T.FLOAT, [3, 6, 6]), "t": (T.FLOAT, [2, 2, 3, 3])},
    {"a": (T.FLOAT, [4, 3, 2, 3]), "m": (T.FLOAT, [4, 3, 3, 2]), "y": (T.FLOAT, [3]), "z": (T.FLOAT, [2, 2])},
    {"of": np.array([0, 1, 1, 0])},
    feeds={"x": w(2, 3, 6, 7), "rois": np.array([[0, 0, 5, 6], [1.3, 2.2, 7.7, 6.1], [-9, -1, 14, 3], [3, 3, 2, 2]], np.float32),
           "r": np.array([[0, 0, 0, 5, 6], [1, 1.3, 2.2, 7.7, 6.1], [1, -9, -1, 14, 3], [0, 20, 3, 30, 2]], np.float32), "d": d, "t": w(2, 2, 3, 3)},
    opset=20, ir=9)

# Places that are known, bits of whole numbers.
model("marks", [
    h.make_node("ConstantOfShape", ["shape"], ["ones"], value=nh.from_array(np.array([1]))), h.make_node("NonZero", ["ones"], ["all"]), h.make_node("NonZero", ["holes"], ["at"]),
    h.make_node("Transpose", ["at"], ["pairs"]), h.make_node("GatherND", ["x", "pairs"], ["picked"]), h.make_node("Compress", ["x", "few"], ["rows"], axis=-1),
    h.make_node("Compress", ["x", "few"], ["flat"]), h.make_node("BitShift", ["i", "by"], ["left"], direction="LEFT"), h.make_node("BitShift", ["l", "far"], ["right"], direction="RIGHT"),
    h.make_node("BitwiseNot", ["l"], ["other"])],
    {"x": (T.FLOAT, [2, 3]), "i": (T.INT32, [5]), "l": (T.INT64, [4, 1])},
    {"all": (T.INT64, [2, 6]), "picked": (T.FLOAT, [3]), "rows": (T.FLOAT, [2, 2]), "flat": (T.FLOAT, [2]), "left": (T.INT32, [5]), "right": (T.INT64, [4, 6]),
     "other": (T.INT64, [4, 1])},
    {"shape": np.array([2, 3]), "holes": np.array([[0, -2.5, 0], [1, 0, 3]], np.float32), "few": np.array([True, False, True]), "by": np.array([0, 31, 7, 32, -1], np.int32),
     "far": np.array([0, 1, 32, 63, 64, -1])},
    feeds={"x": w(2, 3), "i": np.array([-5, 3, 1 << 30, 9, 9], np.int32), "l": np.array([[5], [-5], [1 << 62], [-1 << 63]])}, opset=28, ir=13)

# The standard's previews, by its reference, and what it lacks by NumPy: attention with graphs on the way, gradients, steps of optimizers.
rows = h.make_graph([h.make_node("Add", ["a", "low"], ["s"]), h.make_node("Tanh", ["s"], ["b"])], "rows", [h.make_tensor_value_info("a", T.FLOAT, [2, 4, 3, 5])],
                    [h.make_tensor_value_info("b", T.FLOAT, [2, 4, 3, 5])], [nh.from_array(w(3, 5), "low")])
half = h.make_graph([h.make_node("Mul", ["a", "part"], ["b"])], "half", [h.make_tensor_value_info("a", T.FLOAT, [2, 4, 3, 5])],
                    [h.make_tensor_value_info("b", T.FLOAT, [2, 4, 3, 5])], [nh.from_array(np.array(0.5, np.float32), "part")])
training = "ai.onnx.preview.training"
nodes = [h.make_node("FlexAttention", ["q", "k", "v"], ["y"], "flex", domain="ai.onnx.preview", score_mod=rows, prob_mod=half, scale=0.7),
         h.make_node("MatMul", ["x", "w"], ["p"]), h.make_node("Tanh", ["p"], ["t"]),
         h.make_node("Gradient", ["w", "x"], ["g"], "slope", domain=training, xs=["w"], zs=["x"], y="t"),
         h.make_node("Adam", ["rate", "count", "w", "g", "m", "n"], ["w1", "m1", "n1"], "adam", domain=training, norm_coefficient=0.1, norm_coefficient_post=0.01),
         h.make_node("Momentum", ["rate", "count", "w", "g", "m"], ["w2", "m2"], "momentum", domain=training, alpha=0.8, beta=0.5, mode="nesterov", norm_coefficient=0.1),
         h.make_node("Adagrad", ["rate", "count", "w", "g", "n"], ["w3", "n3"], "adagrad", domain=training, decay_factor=0.2)]
feeds = {"q": w(2, 4, 3, 4), "k": w(2, 2, 5, 4), "v": w(2, 2, 5, 3), "x": w(6, 3), "rate": np.array(0.1, np.float32), "count": np.array(3), "m": w(3, 4), "n": np.abs(w(3, 4))}
weight = w(3, 4)
slope = feeds["x"].T @ (1 - np.tanh(feeds["x"] @ weight) ** 2)
outs = ["y", "g", "w1", "m1", "n1", "w2", "m2", "w3", "n3"]
opsets = [h.make_opsetid("", 20), h.make_opsetid("ai.onnx.preview", 1), h.make_opsetid(training, 1)]


def preview(nodes, inputs, outputs, tensors):
    info = [h.make_tensor_value_info(k, T.INT64 if v.dtype == np.int64 else T.FLOAT, v.shape) for k, v in inputs.items()]
    return h.make_model(h.make_graph(nodes, "preview", info, [h.make_tensor_value_info(k, T.FLOAT, None) for k in outputs],
                                     [nh.from_array(v, k) for k, v in tensors.items()]), opset_imports=opsets, ir_version=9, producer_name="onnx_models")


onnx.save(preview(nodes, feeds, outs, {"w": weight}), os.path.join(out, "preview.onnx"))
rest = [n for n in nodes if n.op_type != "Gradient"]
given = dict(feeds, w=weight, g=slope)
asked = [k for k in outs if k != "g"]
results = dict(zip(asked, ReferenceEvaluator(preview(rest, given, asked, {})).run(asked, given)), g=slope)
for k, v in dict(feeds, **results).items():
    np.save(os.path.join(out, f"preview.{k}.npy"), v)

# Parts that happen to have no elements, as masks of shifted windows have them where nothing is shifted.
nodes = [h.make_node("Slice", ["x", "two", "two", "zero"], ["none"]), h.make_node("Reshape", ["none", "open"], ["a"]), h.make_node("Unsqueeze", ["a", "zero"], ["b"]),
         h.make_node("Squeeze", ["b", "zero"], ["c"]), h.make_node("Add", ["c", "half"], ["d"]), h.make_node("Neg", ["d"], ["e"]), h.make_node("Expand", ["e", "wide"], ["f"]),
         h.make_node("Reshape", ["f", "rows"], ["g"]), h.make_node("Concat", ["g", "x"], ["y"], axis=0), h.make_node("Range", ["nought", "nought", "first"], ["i"]),
         h.make_node("Reshape", ["i", "column"], ["at"]), h.make_node("Concat", ["at", "at"], ["pairs"], axis=-1), h.make_node("ScatterND", ["x", "pairs", "i2"], ["z"]),
         h.make_node("Cast", ["i"], ["i2"], to=T.FLOAT), h.make_node("ScatterND", ["x", "at", "g"], ["all"])]
nodes[-2], nodes[-3] = nodes[-3], nodes[-2]
model("none", nodes, {"x": (T.FLOAT, [2, 3])}, {"y": (T.FLOAT, [2, 3]), "z": (T.FLOAT, [2, 3]), "all": (T.FLOAT, [2, 3])},
      {"two": np.array([2]), "zero": np.array([0]), "open": np.array([-1, 1, 3]), "half": np.float32(0.5), "wide": np.array([1, 2, 3]), "rows": np.array([-1, 3]),
       "nought": np.array(0), "first": np.array(1), "column": np.array([-1, 1])}, feeds={"x": w(2, 3)})

# A batch normalisation gone into a convolution: PyTorch's dynamo exporter notes the rule, its TorchScript exporter renames both.
conv = h.make_node("Conv", ["x", "conv1.weight", "conv1.bias"], ["c"], name="node_conv1", pads=[1, 1, 1, 1])
rule = conv.metadata_props.add()
rule.key, rule.value = "pkg.onnxscript.rewriter.rule_name", "RemoveOptionalBiasFromConv, FuseBatchNormIntoConv"
renamed = h.make_node("Conv", ["c", "onnx::Conv_16", "onnx::Conv_17"], ["d"], name="/conv2/Conv")
tail = [h.make_node("GlobalAveragePool", ["d"], ["p"]), h.make_node("Flatten", ["p"], ["y"])]
model("folded", [conv, renamed] + tail, {"x": (T.FLOAT, [2, 2, 4, 4])}, {"y": (T.FLOAT, [2, 3])},
      {"conv1.weight": w(4, 2, 3, 3), "conv1.bias": w(4), "onnx::Conv_16": w(3, 4, 1, 1), "onnx::Conv_17": w(3)},
      feeds={"x": w(2, 2, 4, 4)})
