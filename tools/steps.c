/* steps.c: the steps of a training: rows in, one call, what the log and the bar say, when weights are saved, and how it
 * ends.
 *
 * Nothing that was learned is lost: a step that is begun is finished; SIGINT and SIGTERM end the training after it,
 * with the weights saved (one more, a second later, ends the process at once); a loss or weight that is not finite ends
 * it before anything is saved; every line of the log is written whole as soon as it is known. */
#include "train.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- signals ---- */

static volatile sig_atomic_t caught;
static struct timespec caught_at;

/* A shell or `timeout` may deliver one signal twice, to the process and to its group: that is still the first. */
static void note_signal(int number) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  if (!caught) {
    caught = number, caught_at = t;
  } else if (t.tv_sec - caught_at.tv_sec > 1) {
    signal(number, SIG_DFL);
    raise(number);
  }
}

static void catch_signals(void) {
  static const int ends[] = {SIGINT, SIGTERM};
  struct sigaction act = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
  sigemptyset(&act.sa_mask);
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    struct sigaction old;
    if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(ends[i], &act, NULL);
  }
}

/* ---- is everything still a number? ---- */

/* All bits of the exponent set: infinite or NaN. Written so that compilers make vectors of it. */
static bool finite_f32(const void *data, int64_t n) {
  const unsigned char *p = data;
  uint32_t bad = 0, bits;
  for (int64_t i = 0; i < n; i++) memcpy(&bits, p + 4 * i, 4), bad |= (bits & 0x7f800000u) == 0x7f800000u;
  return !bad;
}

static bool finite_f64(const void *data, int64_t n) {
  const unsigned char *p = data;
  const uint64_t mask = UINT64_C(0x7ff0000000000000);
  uint64_t bad = 0, bits;
  for (int64_t i = 0; i < n; i++) memcpy(&bits, p + 8 * i, 8), bad |= (bits & mask) == mask;
  return !bad;
}

static bool all_finite(lathe_dtype t, const void *data, int64_t n) {
  switch (t) {
  case LATHE_F32: return finite_f32(data, n);
  case LATHE_F64: return finite_f64(data, n);
  case LATHE_I32:
  case LATHE_I64:
  case LATHE_BOOL: break;
  }
  return true;
}

/* The first of them that holds something else than numbers; NULL: none. */
static const char *not_finite(const training *t, const ports *all) {
  for (size_t i = 0; i < all->n; i++) {
    const lathe_port *p = &all->at[i];
    const void *data = lathe_buffer(t->s, p->name, NULL);
    int64_t n = count_of(p->rank, p->dim);
    if (data && !all_finite(p->dtype, data, n)) return p->name;
  }
  return NULL;
}

static _Noreturn void fail_not_finite(const training *t, int64_t step, const char *weight) {
  const char *save = text_of(t->c, "save", NULL);
  char *what = weight ? format("'%s' holds values that are not finite after step %lld", weight, (long long)step)
                      : format("the loss is %s in step %lld", isnan(t->last) ? "NaN" : "infinite", (long long)step);
  char *kept = !save      ? format("%s", "")
               : t->saved ? format("; %s holds the weights of step %lld", save, (long long)t->saved_step)
                          : format("; %s is left as it was", save);
  fail_work(t->c, "%s%s\nhelp: a smaller --lr, or --clip-norm 1; --keep-going trains on regardless", what, kept);
}

/* ---- saving ---- */

static void save_weights(training *t, int64_t step) {
  lathe_error e, e2;
  const char *save = text_of(t->c, "save", NULL), *other = text_of(t->c, "save-fallback", NULL);
  bool optimizer = has(t->c, "save-optimizer");
  if (!save) return;
  if (lathe_weights_save(t->s, save, optimizer, &e)) {
    bool rescued = other && lathe_weights_save(t->s, other, optimizer, &e2) == 0;
    fail_work(t->c, "%s\n%s%s", e.message,
              rescued ? "the weights were written to --save-fallback instead: "
                      : "what was there before is left as it was",
              rescued ? other
              : other ? format("; nor could %s be written: %s", other, e2.message)
                      : "\nhelp: --save-fallback F.npz names a second place to try");
  }
  t->saved = true;
  t->saved_step = step;
}

/* "100": steps; "2e": epochs. 0: not asked for. */
static void read_save_every(training *t) {
  const char *text = text_of(t->c, "save-every", NULL);
  char *end;
  if (!text) return;
  errno = 0;
  long long n = strtoll(text, &end, 10);
  bool epochs = *end == 'e';
  if (end == text || end[epochs] || errno || n < 1 || text[0] == '+' || text[0] == ' ')
    fail_usage(t->c, "--save-every is '%s', which is neither a number of steps nor of epochs\nhelp: write 100, or 2e",
               text);
  if (epochs) t->save_epochs = n;
  else t->save_steps = n;
}

/* Does the number of epochs behind us grow to a multiple of `every` with this step? */
static bool ends_epochs(const training *t, int64_t step, int64_t every) {
  if (every <= 0) return false;
  int64_t before = step * t->batch / t->data.rows, after = (step + 1) * t->batch / t->data.rows;
  return after / every > before / every;
}

static void save_when_due(training *t, int64_t step, int64_t done) {
  if ((t->save_steps && done % t->save_steps == 0) || ends_epochs(t, step, t->save_epochs)) save_weights(t, step);
  if (!has(t->c, "save-best") || !(ends_epochs(t, step, 1) || done == t->steps)) return;
  evaluation v = test_now(t);
  if (isfinite(v.loss) && (!t->best_known || v.loss < t->best)) {
    save_weights(t, step);
    t->best = v.loss, t->best_known = true;
  }
  free_evaluation(&v);
}

/* ---- the loop ---- */

static FILE *open_log(const cli *c) {
  const char *path = text_of(c, "log", NULL);
  if (!path) return NULL;
  FILE *f = fopen(path, "wb");
  if (!f) fail_work(c, "cannot write %s: %s", path, strerror(errno));
  setvbuf(f, NULL, _IOLBF, 4096); /* a line is written when it ends, and not before */
  return f;
}

static void log_step(const training *t, FILE *log, int64_t step) {
  if (!log) return;
  fprintf(log, isfinite(t->last) ? "{\"step\":%lld,\"loss\":%.9g}\n" : "{\"step\":%lld,\"loss\":null}\n",
          (long long)step, t->last);
  if (ferror(log)) fail_work(t->c, "cannot write %s: %s", text_of(t->c, "log", NULL), strerror(errno));
}

static void check_step(const training *t, int64_t step) {
  if (has(t->c, "keep-going")) return;
  if (!isfinite(t->last)) fail_not_finite(t, step, NULL);
  const char *weight = not_finite(t, &t->weights);
  if (!weight) weight = not_finite(t, &t->states);
  if (weight) fail_not_finite(t, step, weight);
}

int run_steps(training *t) {
  char *x = buffer_of(t->c, t->s, t->x->name), *labels = buffer_of(t->c, t->s, t->t->name);
  const void *loss = buffer_of(t->c, t->s, t->loss.name);
  read_save_every(t);
  FILE *log = open_log(t->c);
  feed rows = feed_start(&t->data, t->seed, !has(t->c, "no-shuffle"));
  progress bar = progress_start(t->steps, t->batch, t->data.rows);
  double start = now();
  int64_t done = 0;
  catch_signals();
  while (done < t->steps && !caught) {
    int64_t step = t->first + done;
    feed_take(&rows, step * t->batch, t->batch, x, labels);
    call_entry(t->c, t->s, "train");
    t->last = value_at(t->loss.dtype, loss, 0);
    if (isnan(t->last)) t->last = (double)NAN; /* of one sign, for everything that prints it */
    if (t->losses) t->losses[done] = (float)t->last;
    log_step(t, log, step);
    check_step(t, step);
    progress_step(&bar, ++done, t->last);
    save_when_due(t, step, done);
  }
  t->done = done;
  t->seconds = now() - start;
  bool kept = t->saved && (has(t->c, "save-best") || t->saved_step == t->first + done - 1);
  if (done && !kept) save_weights(t, t->first + done - 1);
  if (log && fclose(log)) fail_work(t->c, "cannot write %s: %s", text_of(t->c, "log", NULL), strerror(errno));
  feed_end(&rows);
  return caught;
}
