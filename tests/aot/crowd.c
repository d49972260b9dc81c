/* crowd.c: three networks and a training step in one program, called from eight threads at once. Each network's weights
 * are shared, each thread has its own scratch, outputs and state; what comes out is compared with what `lathe run` and
 * `lathe train` wrote. No call may allocate: the program's malloc family ends it while a call is under way (without
 * -DNO_TRAP: a sanitizer brings its own).
 *
 *   crowd write DIR    the inputs, as .npy files
 *   crowd check DIR    everything else; DIR/NAME/OUTPUT.npy, DIR/weights.bin and DIR/params.bin are there by now */
#include "depthwise.h"
#include "digits.h"
#include "lenet5.h"
#include "residual.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 5, STEPS = 4 * ROUNDS, ROWS = STEPS * DIGITS_TRAIN_X_DIM0, SEED = 7, NETWORKS = 3 };

/* ---- no allocation ---- */

static _Thread_local int armed;
#ifndef NO_TRAP
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
  *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static void note(void) {
  static const char said[] = "a call allocates\n";
  if (armed) _exit(write(2, said, sizeof said - 1) < 0 ? 9 : 8);
}

void *malloc(size_t n) { return note(), __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return note(), __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return note(), __libc_realloc(p, n); }
void *aligned_alloc(size_t align, size_t n) { return note(), __libc_memalign(align, n); }
void free(void *p) { note(), __libc_free(p); }
#endif

/* ---- data ---- */

static float lenet5_x[LENET5_RUN_X_COUNT], residual_x[RESIDUAL_RUN_X_COUNT], depthwise_x[DEPTHWISE_RUN_X_COUNT];
static float digits_x[ROWS * DIGITS_TRAIN_X_COUNT / DIGITS_TRAIN_X_DIM0];
static int32_t digits_t[ROWS];
static float lenet5_y[LENET5_RUN_LOGITS_COUNT], residual_y[RESIDUAL_RUN_Y_COUNT],
  depthwise_y[DEPTHWISE_RUN_PROBABILITIES_COUNT];
static _Alignas(64) unsigned char weights[DEPTHWISE_WEIGHTS_BYTES], params[DIGITS_PARAMS_BYTES];

static void die(const char *what, const char *name) {
  fprintf(stderr, "crowd: %s: %s\n", name, what);
  exit(1);
}

static void fill(float *p, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    p[i] = (float)(seed >> 8) / (1 << 23) - 1;
  }
}

static FILE *open_in(const char *folder, const char *name, const char *how) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, how);
  if (!f) die("cannot be opened", path);
  return f;
}

static void write_npy(const char *folder, const char *name, const char *descr, const char *shape, const void *data,
                      size_t bytes) {
  FILE *f = open_in(folder, name, "wb");
  char head[118];
  int n = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
  fprintf(f, "\x93NUMPY%c%c%c%c%s%*s\n", 1, 0, (int)sizeof head, 0, head, (int)sizeof head - 1 - n, "");
  if (fwrite(data, 1, bytes, f) != bytes || fclose(f)) die("cannot be written", name);
}

/* The last `bytes` of a file: a .npy's data, or all of an image. */
static void read_tail(const char *folder, const char *name, void *data, size_t bytes) {
  FILE *f = open_in(folder, name, "rb");
  if (fseek(f, -(long)bytes, SEEK_END) || fread(data, 1, bytes, f) != bytes) die("is too short", name);
  fclose(f);
}

static void make_inputs(void) {
  fill(lenet5_x, LENET5_RUN_X_COUNT, 1);
  fill(residual_x, RESIDUAL_RUN_X_COUNT, 2);
  fill(depthwise_x, DEPTHWISE_RUN_X_COUNT, 3);
  fill(digits_x, sizeof digits_x / sizeof *digits_x, 4);
  for (int i = 0; i < ROWS; i++) digits_t[i] = i * 31 % 10;
}

static void write_inputs(const char *folder) {
  char shape[64];
  write_npy(folder, "lenet5.npy", "<f4", "2, 1, 28, 28", lenet5_x, sizeof lenet5_x);
  write_npy(folder, "residual.npy", "<f4", "1, 3, 17, 13", residual_x, sizeof residual_x);
  write_npy(folder, "depthwise.npy", "<f4", "2, 3, 32, 32", depthwise_x, sizeof depthwise_x);
  snprintf(shape, sizeof shape, "%d, 1, 8, 8", ROWS);
  write_npy(folder, "x.npy", "<f4", shape, digits_x, sizeof digits_x);
  snprintf(shape, sizeof shape, "%d,", ROWS);
  write_npy(folder, "t.npy", "<i4", shape, digits_t, sizeof digits_t);
}

static void read_expected(const char *folder) {
  read_tail(folder, "lenet5/logits.npy", lenet5_y, sizeof lenet5_y);
  read_tail(folder, "residual/y.npy", residual_y, sizeof residual_y);
  read_tail(folder, "depthwise/probabilities.npy", depthwise_y, sizeof depthwise_y);
  read_tail(folder, "weights.bin", weights, sizeof weights);
  read_tail(folder, "params.bin", params, sizeof params);
}

/* ---- one of the crowd ---- */

typedef struct member {
  pthread_t thread;
  pthread_barrier_t *start;
  int number, step, bad;
  float y[LENET5_RUN_LOGITS_COUNT + RESIDUAL_RUN_Y_COUNT + DEPTHWISE_RUN_PROBABILITIES_COUNT];
  _Alignas(64) unsigned char state[DIGITS_STATE_BYTES], lenet5[LENET5_SCRATCH_BYTES], residual[RESIDUAL_SCRATCH_BYTES];
  _Alignas(64) unsigned char depthwise[DEPTHWISE_SCRATCH_BYTES], digits[DIGITS_SCRATCH_BYTES];
} member;

static int run_network(member *m, int which) {
  memset(m->y, 0xA5, sizeof m->y);
  armed = 1;
  int status = which == 0 ? lenet5_run(&(lenet5_run_io){.x = lenet5_x, .logits = m->y}, NULL, m->lenet5)
               : which == 1
                 ? residual_run(&(residual_run_io){.x = residual_x, .y = m->y}, NULL, m->residual)
                 : depthwise_run(&(depthwise_run_io){.x = depthwise_x, .probabilities = m->y}, weights, m->depthwise);
  armed = 0;
  const float *expected = which == 0 ? lenet5_y : which == 1 ? residual_y : depthwise_y;
  size_t bytes = which == 0 ? sizeof lenet5_y : which == 1 ? sizeof residual_y : sizeof depthwise_y;
  return status || memcmp(m->y, expected, bytes);
}

static int train_some(member *m) {
  int status = 0;
  armed = 1;
  if (m->step == 0) status = digits_state_init(m->state, SEED);
  for (int i = 0; i < STEPS / ROUNDS && !status; i++, m->step++) {
    float loss;
    digits_train_io io = {.x = digits_x + (size_t)m->step * DIGITS_TRAIN_X_COUNT,
                          .t = digits_t + m->step * DIGITS_TRAIN_X_DIM0,
                          .loss = &loss};
    status = digits_train(&io, m->state, m->digits);
  }
  armed = 0;
  return status;
}

static void *take_part(void *arg) {
  member *m = arg;
  pthread_barrier_wait(m->start);
  for (int round = 0; round < ROUNDS; round++)
    for (int i = 0; i <= NETWORKS; i++) {
      int which = (m->number + round + i) % (NETWORKS + 1);
      m->bad |= (which == NETWORKS ? train_some(m) : run_network(m, which)) ? 1 << which : 0;
    }
  size_t header = DIGITS_ALIGN;
  if (memcmp(m->state + header, params + header, sizeof params - header)) m->bad |= 1 << (NETWORKS + 1);
  return NULL;
}

int main(int argc, char **argv) {
  static member crowd[THREADS];
  pthread_barrier_t start;
  int bad = 0;
  if (argc != 3) return 2;
  make_inputs();
  if (strcmp(argv[1], "write") == 0) return write_inputs(argv[2]), 0;
  read_expected(argv[2]);
  pthread_barrier_init(&start, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    crowd[i].start = &start, crowd[i].number = i;
    if (pthread_create(&crowd[i].thread, NULL, take_part, &crowd[i])) die("no thread", "pthread_create");
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(crowd[i].thread, NULL);
    if (crowd[i].bad)
      fprintf(stderr, "thread %d: 0x%x (bits: lenet5, residual, depthwise, a step failed, params)\n", i,
              (unsigned)crowd[i].bad);
    bad |= crowd[i].bad;
  }
  pthread_barrier_destroy(&start);
  return bad != 0;
}
