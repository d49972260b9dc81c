// compare.mjs: the network of digits.wasm on all rows of a data set, against what native code says there.
//   make -C ../objects wasm && python3 -m zipfile -e ../digits.npz /tmp/data
//   lathe run ../digits.lathe --batch 599 --weights ../objects/build/weights.npz --input x=/tmp/data/test_x.npy --output-dir /tmp/native
//   node compare.mjs /tmp/data/test_x.npy /tmp/data/test_t.npy /tmp/native/logits.npy
import { readFileSync } from 'node:fs';
import { load, shrink, softmax } from './digits.mjs';

const half = (h) => {
  const e = (h >> 10) & 31, f = h & 1023;
  return (h >> 15 ? -1 : 1) * (e ? f + 1024 : f) * 2 ** ((e || 1) - 25);
};

function npy(path) {
  const file = readFileSync(path), from = 10 + file.readUInt16LE(8), kind = /'descr': '([^']*)'/.exec(file.toString('latin1', 10, from))[1];
  const read = { '<f2': [2, (i) => half(file.readUInt16LE(i))], '<f4': [4, (i) => file.readFloatLE(i)], '|u1': [1, (i) => file[i]] }[kind];
  if (!read) throw new Error(`${path} holds ${kind}`);
  return Array.from({ length: (file.length - from) / read[0] }, (_, i) => read[1](from + i * read[0]));
}

const [x, t, native] = process.argv.slice(2, 5).map(npy);
const here = (name) => new URL(name, import.meta.url);
const classify = await load(readFileSync(here('digits.wasm')), readFileSync(here('digits.h'), 'utf8'));
let right = 0, difference = 0, most = 0;
t.forEach((label, row) => {
  const logits = classify(x.slice(row * 64, row * 64 + 64));
  logits.forEach((v, k) => {
    difference = Math.max(difference, Math.abs(v - native[row * 10 + k]));
    most = Math.max(most, Math.abs(native[row * 10 + k]));
  });
  right += logits.indexOf(Math.max(...logits)) === label;
});
console.log(`relative error ${(difference / most).toExponential(2)}, accuracy ${((100 * right) / t.length).toFixed(1)} % of ${t.length}`);

// What the page does with a drawing: cells that are black all over a pixel of the data set give that pixel back.
const digit = x.slice(0, 64).map((v) => (v > 0.5 ? 1 : 0));
const drawn = shrink(Array.from({ length: 1024 }, (_, i) => digit[(i >> 7) * 8 + ((i & 31) >> 2)]));
const p = softmax(classify(drawn));
const same = digit.every((v, i) => v === drawn[i]) && Math.abs(p.reduce((a, b) => a + b) - 1) < 1e-6;
process.exit(difference / most <= 1e-5 && native.length === t.length * 10 && same ? 0 : 1);
