#!/usr/bin/env python3
"""Writes tests/weights anew: files of weights as others write them, and what others compute with them.

Needs torch, safetensors and NumPy. The files are small and committed, so the tests need none of these.

  reference.safetensors   the arrays of tests/api/weights.c as the reference writer writes them
  torch.pth .safetensors  a state dict of the network of tests/weights/net.lathe; x.npy and what PyTorch makes of it, y.npy
  checkpoint.pth          the same below `state_dict`, each key after `module.`, beside an optimizer's state
  two.pth                 with `state_dict` and `state_dict_ema`
  strided.pth             the same weights, channels last
  half.safetensors        the same in float16 and bfloat16, y_half.npy: what PyTorch makes of these values
  module.pth, script.pt   what must be refused: a pickled module, a TorchScript module
  legacy.pth, protocol4.pth  PyTorch's format before 1.6; a newer pickle
  keras.npz               the same network in Keras's names and layouts (its image flattened with channels last)
"""
import os
import sys
import warnings

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn

warnings.simplefilter("ignore")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.fc1 = nn.Linear(48, 6)
        self.fc2 = nn.Linear(6, 6)  # a square: only its name says how it lies
        self.fc3 = nn.Linear(6, 5)

    def forward(self, x):
        h = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        h = self.up(torch.relu(self.conv2(h)))
        h = torch.relu(self.fc1(torch.flatten(h, 1)))
        return self.fc3(torch.relu(self.fc2(h)))


def keras(state):
    """The same weights as Keras names and lays them: HWIO, [in, out], an image flattened (h, w, c)."""
    s = {k: v.numpy() for k, v in state.items()}
    out = {}
    for name in ("conv1", "up"):
        out[name + "/kernel:0"] = s[name + ".weight"].transpose(2, 3, 1, 0)
        out[name + "/bias:0"] = s[name + ".bias"]
    out["conv2/depthwise_kernel:0"] = s["conv2.weight"].transpose(2, 3, 0, 1)
    for theirs, ours in (("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var")):
        out[f"bn1/{theirs}:0"] = s["bn1." + ours]
    fc1 = s["fc1.weight"].reshape(6, 3, 4, 4).transpose(2, 3, 1, 0).reshape(48, 6)
    for name, kernel in (("fc1", fc1), ("fc2", s["fc2.weight"].T), ("fc3", s["fc3.weight"].T)):
        out[name + "/kernel:0"] = kernel
        out[name + "/bias:0"] = s[name + ".bias"]
    return {k: np.ascontiguousarray(v) for k, v in out.items()}


def main(to):
    os.chdir(to)
    torch.manual_seed(1)
    net = Net()
    for _ in range(3):
        net(torch.randn(16, 2, 4, 4) * 2 + 1)
    net.eval()
    x = torch.randn(2, 2, 4, 4)
    state = net.state_dict()
    np.save("x.npy", x.numpy())
    np.save("y.npy", net(x).detach().numpy())
    torch.save(state, "torch.pth")
    safetensors.torch.save_file(state, "torch.safetensors", {"format": "pt"})
    adam = torch.optim.Adam(net.parameters())
    net(x).sum().backward()
    adam.step()
    adam.zero_grad()
    net.load_state_dict(torch.load("torch.pth"))
    torch.save({"epoch": 3, "state_dict": {"module." + k: v for k, v in state.items()}, "optimizer": adam.state_dict()},
               "checkpoint.pth")
    torch.save({"state_dict": state, "state_dict_ema": state}, "two.pth")
    torch.save(state, "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"fc3.bias": state["fc3.bias"]}, "protocol4.pth", pickle_protocol=4)
    torch.save(nn.Linear(2, 2), "module.pth")
    torch.jit.script(nn.Linear(2, 2)).save("script.pt")
    np.savez("keras.npz", **keras(state))
    half = {k: v if not v.is_floating_point() else v.to(torch.bfloat16 if k.startswith("fc") else torch.float16)
            for k, v in state.items()}
    safetensors.torch.save_file(half, "half.safetensors")
    torch.save(Net().to(memory_format=torch.channels_last).state_dict() | {
        k: v.to(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in state.items()}, "strided.pth")
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in half.items()})
    np.save("y_half.npy", net(x).detach().numpy())
    values = np.array([[1, 2, 3], [4, 5, 6]], "float32")
    safetensors.numpy.save_file({
        "fc.b": values.reshape(-1)[:3], "step": np.array(7, "int64"), "fc.W": values,
        "mask": np.array([True, False, True]), 'a "b"\té': np.array([0.5, -2])}, "reference.safetensors")


main(sys.argv[1])
