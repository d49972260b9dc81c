/* driver.c: runs an object on the machine it was made for; cross.c gives its tables (tables.h). Writes the outputs,
 * then the state, as they are in memory. On WebAssembly there is no C library: driver.mjs runs it. */
#ifdef __wasm__
void put(const void *at, long bytes) __attribute__((import_module("env"), import_name("put")));
#else
#include <stdio.h>
static void put(const void *at, long bytes) { fwrite(at, 1, (size_t)bytes, stdout); }
#endif

#define JOIN3(a, b, c) a##_##b##c
#define JOIN(a, b, c) JOIN3(a, b, c)
#define CALL JOIN(PREFIX, ENTRY, )
#define IO JOIN(PREFIX, ENTRY, _io)

static _Alignas(64) unsigned char scratch[SCRATCH + 64], state[STATE + 64];

int main(void) {
  int bad = 0;
#if STEPS
  bad |= JOIN(PREFIX, state_init, )(state, 3);
  for (int i = 0; i < STEPS; i++) bad |= CALL((const IO *)(const void *)io, state, scratch);
#else
  bad |= CALL((const IO *)(const void *)io, 0, scratch);
#endif
  if (bad) return 1;
  for (int i = 0; out[i].at; i++) put(out[i].at, out[i].bytes);
  put(state, STATE);
  return 0;
}
