"""torch_net.py: a Net's nodes run by PyTorch, eagerly, forward or as a step of SGD; in double precision it is the reference
of steps.

Relu, Clip and Add work in place, as torchvision's networks have them."""
import torch
import torch.nn.functional as F


def layout(t, channels_last):
    return t.contiguous(memory_format=torch.channels_last) if channels_last and t.dim() == 4 else t


def conv(x, w, b=None, *, kernel_shape, strides, pads, group): return F.conv2d(x, w, b, strides, pads[:2], 1, group)
def gemm(x, w, b, transB): return F.linear(x, w, b)
def max_pool(x, kernel_shape, strides, pads): return F.max_pool2d(x, kernel_shape, strides, pads[:2])


def batch_norm(train):
    return lambda x, scale, bias, mean, var, epsilon, momentum: F.batch_norm(x, mean, var, scale, bias, train, 1 - momentum, epsilon)


def ops(train):
    return {"Conv": conv, "BatchNormalization": batch_norm(train), "MaxPool": max_pool, "Gemm": gemm, "Relu": F.relu_,
            "Add": torch.Tensor.add_, "Clip": lambda x, lo, hi: F.hardtanh_(x, 0, 6), "Flatten": lambda x: x.flatten(1),
            "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1)}


class TorchNet:
    def __init__(self, net, channels_last=False, dtype=torch.float32):
        self.net, self.channels_last = net, channels_last
        self.weights = {k: layout(torch.from_numpy(w).to(dtype, copy=True), channels_last) for k, w in net.weights.items()}

    def forward(self, x):
        """A function of no operands that returns the result as an array; x is laid out before."""
        x, table = layout(torch.from_numpy(x), self.channels_last), ops(False)
        def go():
            with torch.inference_mode(): return self.net.run(x, table, self.weights).numpy()
        return go

    def step(self, x, labels, rate):
        """A function that takes one step of SGD and returns the loss before it."""
        trained, table = [self.weights[k].requires_grad_() for k in self.net.trained()], ops(True)
        x = layout(torch.from_numpy(x).to(trained[0].dtype), self.channels_last)
        labels, optimizer = torch.from_numpy(labels).long(), torch.optim.SGD(trained, lr=rate, foreach=True)
        def go():
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(self.net.run(x, table, self.weights), labels)
            loss.backward()
            optimizer.step()
            return loss.item()
        return go
