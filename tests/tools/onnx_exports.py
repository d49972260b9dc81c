#!/usr/bin/env python3
"""PyTorch's exports, run and trained by the command beside PyTorch itself:

  onnx_exports.py LATHE [--all] [--cross] [--only TEXT] [--exporter TEXT] [--results F.jsonl] [--work DIR]

Networks have random weights (export_nets.py) and are exported with an open batch by both exporters, TorchScript and dynamo. A row
says: nodes and opset, the largest difference from PyTorch's results over their largest, whether batches of 1, 2 and 7 give the same
bits for the same image, the points of `lathe check`, whether an object of this machine, and with --cross one of aarch64 under
qemu-user, gives the bits of `lathe run`, and, exported as docs/onnx.md says for training, the largest difference of the loss in 20
steps of SGD; behind it what PyTorch's own float32 has from its float64.

That last figure is what rates and batches were chosen by (export_nets.py): batch normalisation over few images multiplies rounding.
In images of 64 x 64 and batches of 8, ResNet-18's losses in float32 and float64 part by 0.02 in 20 steps at a rate of 0.01,
MobileNetV2's by 0.07 at 0.001; at the rates of NETS they stay within 2e-4.

--all takes small networks of many kinds (export_kinds.py) and those of torchvision and timm as well: their results, and their
batches where compiling takes less than QUICK seconds. Where --results is there, rows go to that file as they are made, and those
that are in it and good are not made again. Needs torch, onnx, onnxscript and NumPy; torchvision and timm are used where they are
there. Exit: 1 when something is off. What PyTorch cannot export says nothing of us, and is counted beside."""
import argparse, contextlib, copy, inspect, io, json, logging, os, re, signal, subprocess, sys, tempfile, warnings
import numpy as np
import onnx
import torch
from torch import nn
import torch.nn.functional as F
from export_kinds import KINDS, Ids
from export_nets import NETS, others

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)
torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # TorchScript cannot export it
LIMIT, LIMIT_LOSS, QUICK, PATIENCE = 1e-4, 1e-3, 4, 600
EXPORTERS = ("TorchScript", "dynamo")
DRIVER = """#include <stdio.h>
#include "m.h"
static _Alignas(64) unsigned char scratch[NET_RUN_SCRATCH_BYTES + 64];
static float x[NET_RUN_X_COUNT], y[NET_RUN_Y_COUNT];
int main(void) {
  net_run_io io = {0};
  io.x = x, io.y = y;
  if (fread(x, sizeof x, 1, stdin) != 1 || net_run(&io, NULL, scratch)) return 1;
  return fwrite(y, sizeof y, 1, stdout) != 1;
}
"""


class Refused(Exception):
    """What the command says, or that its results are not right."""


# ---- exports -----------------------------------------------------------------------------------------------------------------------

def draw(specs, n):
    return tuple(torch.randint(0, s.below, (n, *s.shape)) if isinstance(s, Ids) else torch.randn(n, *s) for s in specs)


def flat(results):
    return list(results) if isinstance(results, (tuple, list)) else [results]


def names(kind, n):
    return [kind + (str(i) if i else "") for i in range(n)]


def export(net, x, path, exporter, training=False):
    ins, outs = names("x", len(x)), names("y", len(flat(net(*x))))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if exporter == "TorchScript":
            net.eval().training = training  # of the whole alone: then the exporter does not join weights that are equal
            kind = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False} if training else {}
            torch.onnx.export(net, x, path, dynamo=False, input_names=ins, output_names=outs, opset_version=20,
                              dynamic_axes={n: {0: "batch"} for n in ins + outs}, **kind)
            return
        listed = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(net.forward).parameters.values())
        for batch in (torch.export.Dim("batch"), torch.export.Dim.AUTO):  # AUTO fixes it where a network does
            with contextlib.suppress(Exception) if batch != torch.export.Dim.AUTO else contextlib.nullcontext():
                dims = tuple({0: batch} for _ in x)
                torch.onnx.export(net.eval(), x, path, dynamo=True, input_names=ins, output_names=outs, verbose=False,
                                  dynamic_shapes=(dims,) if listed else dims, **({"optimize": False} if training else {}))
                return


def described(path):
    m = onnx.load(path, load_external_data=False)
    free = not m.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return len(m.graph.node), max(o.version for o in m.opset_import if o.domain in ("", "ai.onnx")), free


def randomize(net):
    """Running statistics that are not 0 and 1, scales and biases neither; weights that are made as zeros are not."""
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.normal_(m.running_mean, 0, 0.1), nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.uniform_(m.weight, 0.5, 1.5), nn.init.normal_(m.bias, 0, 0.1)
    for p in net.parameters():
        if not p.detach().any():
            nn.init.normal_(p, 0, 0.02)
    return net


# ---- the command -------------------------------------------------------------------------------------------------------------------

def lathe(o, *args, cwd):
    """What it prints, its seconds of a core."""
    with open(f"{cwd}/said", "w+") as said:
        p = subprocess.Popen([o.lathe, *map(str, args)], stdout=said, stderr=said, cwd=cwd)
        try:
            _, status, used = os.wait4(p.pid, 0)
        except TimeoutError:
            p.kill()
            raise Refused(f"lathe {args[0]} takes more than {PATIENCE} s") from None
        p.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if p.returncode:
        raise Refused(f"lathe {args[0]}: exit {p.returncode}: {text.strip()[:600]}")
    return text, used.ru_utime + used.ru_stime


def results(o, work, x, batch):
    given = []
    for n, a in zip(names("x", len(x)), x):
        np.save(f"{work}/{n}.npy", a.numpy())
        given += ["--input", f"{n}={n}.npy"]
    return lathe(o, "run", "m.onnx", "--no-cache", *batch, *given, "--output-dir", "out", cwd=work)[1]


def outputs(work, n):
    return [np.load(f"{work}/out/{name}.npy") for name in names("y", n)]


def off(ours, theirs):
    worst = 0.0
    for a, b in zip(ours, theirs):
        a, b = a.astype(np.float64), b.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            d = np.abs(np.where(same, 0, a - b))
        worst = max(worst, float(d.max(initial=0) / max(np.abs(b[np.isfinite(b)]).max(initial=0), 1e-30)) if a.shape == b.shape else np.inf)
    return worst if worst == worst else np.inf


def same_bits(a, b):
    return all(p.tobytes() == q.tobytes() for p, q in zip(a, b))


def object_agrees(o, work, target, cc, run):
    lathe(o, "compile", "m.onnx", "--batch", 1, "-o", "m.o", "--header", "m.h", "--prefix", "net", *target, cwd=work)
    with open(f"{work}/main.c", "w") as f:
        f.write(DRIVER)
    p = subprocess.run([*cc, "-o", "m", "main.c", "m.o"], cwd=work, capture_output=True, text=True)
    if p.returncode:
        raise Refused(f"{cc[0]}: {p.stderr[:300]}")
    got = subprocess.run([*run, "./m"], cwd=work, input=np.load(f"{work}/x.npy")[:1].tobytes(), capture_output=True)
    return got.returncode == 0 and got.stdout == np.load(f"{work}/out/y.npy")[:1].tobytes()


# ---- rows --------------------------------------------------------------------------------------------------------------------------

def losses(net, x, labels, loss, rate, batch, steps):
    net.train()
    sgd, found = torch.optim.SGD(net.parameters(), lr=rate), []
    for i in range(steps):
        at = slice(i % 4 * batch, (i % 4 + 1) * batch)
        value = (F.cross_entropy if loss == "cross_entropy" else F.mse_loss)(net(x[at]), labels[at])
        sgd.zero_grad(), value.backward(), sgd.step()
        found.append(value.item())
    return np.array(found)


def compare_training(o, work, make, shape, loss, rate, batch, exporter, steps=20):
    """How far our losses are from PyTorch's in float32, and these from those in float64."""
    torch.manual_seed(3)
    net, x = make(), torch.randn(batch * 4, *shape)
    with torch.no_grad():
        y = net.eval()(x)
    labels = torch.randint(0, y.shape[1], (len(x),)) if loss == "cross_entropy" else torch.randn_like(y)
    twin = copy.deepcopy(net).double()
    export(net, (x[:2],), f"{work}/train.onnx", exporter, training=True)
    np.save(f"{work}/tx.npy", x.numpy()), np.save(f"{work}/ty.npy", labels.numpy())
    lathe(o, "train", "train.onnx", "--batch", batch, "--data", "tx.npy", "--labels", "ty.npy", "--loss", loss, "--lr", rate, "--steps", steps,
          "--no-shuffle", "--log", "log.jsonl", cwd=work)
    ours = np.array([json.loads(line)["loss"] for line in open(f"{work}/log.jsonl")])
    theirs = losses(net, x, labels, loss, rate, batch, steps)
    exact = losses(twin, x.double(), labels if loss == "cross_entropy" else labels.double(), loss, rate, batch, steps)
    return float(np.abs(ours - theirs).max()), float(np.abs(theirs - exact).max())


def more_of(o, work, row, make, shape, loss, rate, batch):
    """What only NETS are asked for. The batch of 7 was the last that ran, whose first image objects are given."""
    said, _ = lathe(o, "check", "m.onnx", "--batch", 1, cwd=work)
    row["check"] = len(re.findall("^ok", said, re.M))
    row["object"] = object_agrees(o, work, [], ["gcc"], [])
    if o.cross:
        row["aarch64"] = object_agrees(o, work, ["--target", "aarch64-linux-gnu"], ["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"])
    row["loss"], row["own"] = compare_training(o, work, make, shape, loss, rate, batch, row["exporter"])
    if not (row["object"] and row.get("aarch64", True) and row["loss"] <= LIMIT_LOSS):
        raise Refused("see the row")


def fill(o, work, row, make, specs, training):
    torch.manual_seed(1)
    net = randomize(make()).eval()
    x = draw(specs, 7)
    with torch.no_grad():
        export(net, tuple(a[:2] for a in x), f"{work}/m.onnx", row["exporter"])
        want = [y.numpy() for y in flat(net.eval()(*[a[:2] for a in x]))]
    row["nodes"], row["opset"], free = described(f"{work}/m.onnx")
    row["seconds"] = results(o, work, [a[:2] for a in x], ["--batch", 2] if free else [])
    two = outputs(work, len(want))
    row["off"] = off(two, want)
    if not row["off"] <= LIMIT:
        raise Refused("the results differ: " + ", ".join(f"{off([a], [b]):.0e} {a.shape} {b.shape}" for a, b in zip(two, want)))
    if free and (training or row["seconds"] < QUICK):
        results(o, work, [a[:1] for a in x], ["--batch", 1])
        one = outputs(work, len(want))
        results(o, work, x, ["--batch", 7])
        row["bits"] = same_bits(one, [a[:1] for a in two]) and same_bits(two, [a[:2] for a in outputs(work, len(want))])
        if not row["bits"]:
            raise Refused("batches have other bits")
    if training:
        more_of(o, work, row, make, specs[0], *training)


def late(*_):
    raise TimeoutError()


def make_row(o, name, make, specs, training, exporter):
    row = {"name": name, "exporter": exporter, "state": "good"}
    signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    with tempfile.TemporaryDirectory(dir=o.work) as work:
        try:
            fill(o, work, row, make, specs, training)
        except Refused as e:
            row["state"], row["said"] = "OFF", str(e)
        except Exception as e:  # noqa: BLE001: an exporter that fails says nothing of us
            row["state"], row["said"] = "no export", f"{type(e).__name__}: {str(e).strip()[:200]}"
        finally:
            signal.alarm(0)
    return row


def printed(row):
    number = lambda key, form: form.format(row[key]) if key in row else ""
    yes = lambda key: {True: "same bits", False: "OTHER BITS"}.get(row.get(key), "")
    cells = [row["name"], row["exporter"], number("nodes", "{}") + number("opset", ", opset {}"), number("off", "{:.0e}"), yes("bits"), number("check", "{} points"),
             yes("object"), yes("aarch64"), number("loss", "{:.0e}") + number("own", " ({:.0e})"), number("seconds", "{:.1f} s"),
             " ".join(filter(None, [row["state"], row.get("said", "").replace("\n", " ")]))]
    return "| " + " | ".join(cells) + " |"


def earlier(path):
    """Rows that need not be made again."""
    if not path or not os.path.exists(path):
        return {}
    rows = [json.loads(line) for line in open(path)]
    return {(r["name"], r["exporter"]): r for r in rows if r["state"] == "good"}


def nets(o):
    yield from ((n, make, [shape], training) for n, (make, shape, *training) in NETS.items())
    if o.all:
        for n, make, specs in [(f"own {n}", *v) for n, v in KINDS.items()] + list(others()):
            yield n, make, specs if isinstance(specs, list) else [specs], None


def main():
    a = argparse.ArgumentParser()
    a.add_argument("lathe", type=os.path.abspath)
    a.add_argument("--all", action="store_true")
    a.add_argument("--cross", action="store_true")
    a.add_argument("--only", default="")
    a.add_argument("--exporter", default="")
    a.add_argument("--results")
    a.add_argument("--work", default=tempfile.gettempdir())
    o = a.parse_args()
    print("| network | exporter | nodes | results | batches 1, 2, 7 | check | object | aarch64 | loss in 20 steps | first run | |\n" + "|---" * 11 + "|")
    done, rows = earlier(o.results), []
    for name, make, specs, training in nets(o):
        for exporter in EXPORTERS:
            if not re.search(o.only, name) or o.exporter not in exporter:
                continue
            row = done.get((name, exporter))
            if not row:
                row = make_row(o, name, make, specs, training, exporter)
                if o.results:
                    with open(o.results, "a") as f:
                        f.write(json.dumps(row) + "\n")
            rows.append(row)
            print(printed(row), flush=True)
    for exporter in EXPORTERS:
        of = [r for r in rows if r["exporter"] == exporter]
        print(f"{exporter}: " + ", ".join(f"{sum(r['state'] == s for r in of)} {s}" for s in ("good", "OFF", "no export")) +
              f"; batches with the same bits: {sum(r.get('bits', False) for r in of)}")
    return 1 if any(r["state"] == "OFF" for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
