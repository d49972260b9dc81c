// digits.mjs: digits.wasm (linked of one object, ../objects/Makefile) as a function. The module imports nothing; its caller
// gives it memory: here the pages behind what the linker laid out, cut up by the sizes that digits.h states.

// bytes: digits.wasm; header: the text of digits.h. Resolves to a function from 64 pixels (0 white … 1 black, row by row)
// to the 10 logits. Not reentrant: one scratch.
export async function load(bytes, header) {
  const size = (name) => {
    const found = new RegExp(`^#define DIGITS_${name} (\\d+)u$`, 'm').exec(header);
    if (!found) throw new Error(`digits.h does not state ${name}`);
    return Number(found[1]);
  };
  const { instance } = await WebAssembly.instantiate(bytes);
  const { memory, digits_run: run, __heap_base: heap } = instance.exports;
  let end = heap.value;
  const take = (n) => {
    const at = Math.ceil(end / size('ALIGN')) * size('ALIGN');
    end = at + n;
    return at;
  };
  const scratch = take(size('RUN_SCRATCH_BYTES')), x = take(size('RUN_X_BYTES')), logits = take(size('RUN_LOGITS_BYTES'));
  const io = take(2 * 4); // digits_run_io: a pointer to x, a pointer to logits
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  new Uint32Array(memory.buffer, io, 2).set([x, logits]);
  return (pixels) => {
    if (pixels.length !== size('RUN_X_COUNT')) throw new Error(`${pixels.length} pixels instead of ${size('RUN_X_COUNT')}`);
    new Float32Array(memory.buffer, x, pixels.length).set(pixels);
    const status = run(io, 0, scratch); // 0: the weights inside the module
    if (status) throw new Error(`digits_run: ${status}`);
    return new Float32Array(memory.buffer, logits, size('RUN_LOGITS_COUNT')).slice();
  };
}

// A drawing of 32x32 cells (0 or 1) as the data set has it: 8x8 pixels, each the share of black cells among 4x4.
export function shrink(cells) {
  const pixels = new Float32Array(64);
  for (let y = 0; y < 32; y++)
    for (let x = 0; x < 32; x++) pixels[(y >> 2) * 8 + (x >> 2)] += cells[y * 32 + x] / 16;
  return pixels;
}

export const softmax = (logits) => {
  const most = Math.max(...logits), e = [...logits].map((v) => Math.exp(v - most)), sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
};
