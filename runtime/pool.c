/* pool.c: see pool.h.
 *
 * The indices of a job are dealt out in shares, one for each thread: the same part of the whole in every job, so that a
 * thread finds in its caches what it wrote in the last one. Who is through with its own share takes from the ends of
 * the others. Both take a part of what is left there, down to single indices: few claims, and no thread ends long
 * before another.
 *
 * A share is one word: the number of the job, the first index that is left, the end. A thread claims indices by a
 * compare-and-swap, so a claim can only succeed in the job it was read in, and a thread that wakes up late claims
 * nothing: nobody has to wait for threads that did no work. The job's fields change only while all shares are empty;
 * they are read with acquire and written with release, so that whoever saw a new field fails to claim in an old share.
 * The caller waits for the count of finished indices.
 *
 * Both sides spin for a while before they sleep, since the calls of one entry follow each other within microseconds,
 * and waking up takes tens of them. Who spun in vain spins half as long next time: where others need the cores, or the
 * two sides share one, little of them is burnt. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  LINE = 128, /* what threads write apart stands so far apart: caches fetch two lines at a time */
  MAX_THREADS = 1024,
  SPIN = 100000,       /* nanoseconds at most, where there is a core for each thread: as long as waking one up takes */
  SPIN_CROWDED = 1000, /* and where there is not */
  SPIN_PARTS = 10,     /* a tenth of it is the least: most waits are shorter, and what follows from them is learnt */
  SPINS_PER_CLOCK = 16,
  PART = 4,          /* a quarter of what is left of a share is taken */
  MAX_ROUND = 0xffff /* indices in one job */
};

typedef struct share { _Alignas(LINE) _Atomic uint64_t word; } share;

struct lathe_pool {
  lathe_parallel parallel;
  int threads, started; /* started: workers of this process; -1: not tried yet */
  int64_t spin;         /* the longest, in nanoseconds */
  int64_t patience;     /* of the caller: how long it spins now */
  pid_t pid;            /* the process the workers live in */
  pthread_t *worker;    /* [threads - 1] */
  share *share;         /* [threads]; the caller's is 0 */
  pthread_mutex_t lock; /* for sleeping only */
  pthread_cond_t wake, finished;
  atomic_int sleepers, caller_sleeps, stop;
  int arrived; /* workers that reached worker_main; under the lock */
  _Alignas(LINE) _Atomic uint32_t job;
  _Atomic int64_t n;
  _Atomic int64_t first; /* what index 0 of this round stands for */
  _Atomic(void *) arg;
  _Atomic(void (*)(void *arg, int64_t i)) body;
  _Alignas(LINE) _Atomic int64_t done;
};

static _Thread_local bool inside; /* this thread is running a body */

static uint64_t word_of(uint32_t job, int64_t begin, int64_t end) {
  return (uint64_t)job << 32 | (uint64_t)begin << 16 | (uint64_t)end;
}
static uint32_t word_job(uint64_t w) { return (uint32_t)(w >> 32); }
static int64_t word_begin(uint64_t w) { return (int64_t)(w >> 16 & 0xffff); }
static int64_t word_end(uint64_t w) { return (int64_t)(w & 0xffff); }

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/* Spins until ready(p, of), for as long as `patience` says; false: in vain. */
static bool spin(const lathe_pool *p, int64_t *patience, bool (*ready)(const lathe_pool *p, int64_t of), int64_t of) {
  int64_t end = now() + *patience;
  for (int i = 1;; i++) {
    if (ready(p, of)) {
      *patience = *patience * 2 < p->spin ? *patience * 2 : p->spin;
      return true;
    }
    relax();
    if (i % SPINS_PER_CLOCK == 0 && now() >= end) break;
  }
  const int64_t least = p->spin / SPIN_PARTS;
  *patience = *patience / 2 > least ? *patience / 2 : least;
  return false;
}

/* ---- the work itself, on every thread ---- */

static void finish(lathe_pool *p, int64_t count) {
  if (!count) return; /* else the job is not over before this: n is its own */
  int64_t n = atomic_load(&p->n);
  if (atomic_fetch_add(&p->done, count) + count < n || !atomic_load(&p->caller_sleeps)) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_signal(&p->finished);
  pthread_mutex_unlock(&p->lock);
}

/* Runs indices of a share, from its front or its end; how many? */
static int64_t work_on(lathe_pool *p, share *s, bool own) {
  for (;;) {
    uint64_t w = atomic_load_explicit(&s->word, memory_order_acquire);
    int64_t begin = word_begin(w), end = word_end(w), left = end - begin;
    if (left <= 0) return 0;
    int64_t first = atomic_load_explicit(&p->first, memory_order_acquire);
    void *arg = atomic_load_explicit(&p->arg, memory_order_acquire);
    void (*body)(void *, int64_t) = atomic_load_explicit(&p->body, memory_order_acquire);
    int64_t count = left > PART ? left / PART : 1;
    if (own) begin += count;
    else end -= count;
    if (!atomic_compare_exchange_strong(&s->word, &w, word_of(word_job(w), begin, end))) continue;
    int64_t at = own ? begin - count : end;
    for (int64_t i = at; i < at + count; i++) body(arg, first + i);
    return count;
  }
}

static void work(lathe_pool *p, int me) {
  int64_t total = 0;
  for (int i = 0, shares = p->started + 1; i < shares; i++)
    for (int64_t count; (count = work_on(p, &p->share[(me + i) % shares], i == 0));) total += count;
  finish(p, total);
}

/* ---- workers ---- */

static bool job_after(const lathe_pool *p, int64_t seen) {
  return atomic_load(&p->job) != seen || atomic_load(&p->stop);
}

/* Waits for a job other than `seen`, which then is it; false when the pool ends. */
static bool next_job(lathe_pool *p, int64_t *patience, uint32_t *seen) {
  if (!spin(p, patience, job_after, *seen)) {
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!job_after(p, *seen)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
  }
  *seen = atomic_load(&p->job);
  return !atomic_load(&p->stop);
}

static void *worker_main(void *pool) {
  lathe_pool *p = pool;
  uint32_t seen = 0;
  int64_t patience = p->spin;
  inside = true;
  pthread_mutex_lock(&p->lock);
  int me = ++p->arrived;
  pthread_cond_signal(&p->finished);
  pthread_mutex_unlock(&p->lock);
  while (next_job(p, &patience, &seen)) work(p, me);
  return NULL;
}

static int usable_cpus(void) {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}

/* A thread on its way up may hold locks that are not ours: the allocator's, a sanitizer's. Who forks after the call
 * would leave them locked in the child for ever, so no call returns before its workers are up. */
static void await_workers(lathe_pool *p) {
  pthread_mutex_lock(&p->lock);
  while (p->arrived < p->started) pthread_cond_wait(&p->finished, &p->lock);
  pthread_mutex_unlock(&p->lock);
}

/* Workers leave every signal to the host's own threads. */
static void start_workers(lathe_pool *p) {
  sigset_t all, old;
  sigfillset(&all);
  p->pid = getpid();
  p->spin = p->patience = p->threads <= usable_cpus() ? SPIN : SPIN_CROWDED;
  p->started = 0;
  pthread_sigmask(SIG_SETMASK, &all, &old);
  while (p->started < p->threads - 1 && pthread_create(&p->worker[p->started], NULL, worker_main, p) == 0) p->started++;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  await_workers(p);
}

/* Nothing that was in use when the process forked can be trusted, locks least of all. */
static void reset(lathe_pool *p) {
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->finished, NULL);
  atomic_store(&p->sleepers, 0);
  atomic_store(&p->caller_sleeps, 0);
  atomic_store(&p->stop, 0);
  atomic_store(&p->job, 0);
  for (int i = 0; i < p->threads; i++) atomic_store(&p->share[i].word, 0);
  p->arrived = 0;
  p->started = -1;
}

static bool workers_live_here(const lathe_pool *p) { return p->started > 0 && p->pid == getpid(); }

/* ---- the caller ---- */

static void publish(lathe_pool *p, int64_t first, int64_t n, void (*body)(void *, int64_t), void *arg) {
  const uint32_t job = atomic_load(&p->job) + 1;
  const int shares = p->started + 1;
  atomic_store_explicit(&p->n, n, memory_order_release);
  atomic_store_explicit(&p->first, first, memory_order_release);
  atomic_store_explicit(&p->arg, arg, memory_order_release);
  atomic_store_explicit(&p->body, body, memory_order_release);
  atomic_store(&p->done, 0);
  for (int i = 0; i < shares; i++)
    atomic_store_explicit(&p->share[i].word, word_of(job, n * i / shares, n * (i + 1) / shares), memory_order_release);
  atomic_store(&p->job, job);
  if (atomic_load(&p->sleepers) == 0) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

static bool all_done(const lathe_pool *p, int64_t n) { return atomic_load(&p->done) == n; }

static void wait_for_all(lathe_pool *p, int64_t n) {
  if (all_done(p, n) || spin(p, &p->patience, all_done, n)) return;
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->caller_sleeps, 1);
  while (!all_done(p, n)) pthread_cond_wait(&p->finished, &p->lock);
  atomic_store(&p->caller_sleeps, 0);
  pthread_mutex_unlock(&p->lock);
}

static void run(void *pool, int64_t n, void (*body)(void *, int64_t), void *arg) {
  lathe_pool *p = pool;
  if (!inside && n > 1 && p->threads > 1) {
    if (p->started >= 0 && p->pid != getpid()) reset(p);
    if (p->started < 0) start_workers(p);
  }
  if (inside || n <= 1 || p->started <= 0) {
    for (int64_t i = 0; i < n; i++) body(arg, i);
    return;
  }
  inside = true;
  for (int64_t first = 0; first < n; first += MAX_ROUND) {
    int64_t round = n - first < MAX_ROUND ? n - first : MAX_ROUND;
    publish(p, first, round, body, arg);
    work(p, 0);
    wait_for_all(p, round);
  }
  inside = false;
}

/* ---- life ---- */

static void free_all(lathe_pool *p) {
  free(p->share);
  free(p->worker);
  free(p);
}

lathe_pool *lathe_pool_new(int threads) {
  if (threads < 1) threads = 1;
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  lathe_pool *p = aligned_alloc(LINE, sizeof *p);
  if (!p) return NULL;
  memset(p, 0, sizeof *p);
  p->worker = calloc((size_t)threads, sizeof *p->worker);
  p->share = aligned_alloc(LINE, (size_t)threads * sizeof *p->share);
  if (!p->worker || !p->share) {
    free_all(p);
    return NULL;
  }
  p->threads = threads;
  p->parallel = (lathe_parallel){p, run};
  reset(p);
  return p;
}

void lathe_pool_free(lathe_pool *p) {
  if (!p) return;
  if (workers_live_here(p)) {
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->started; i++) pthread_join(p->worker[i], NULL);
  }
  free_all(p);
}

const lathe_parallel *lathe_pool_parallel(lathe_pool *p) { return &p->parallel; }
int lathe_pool_running(const lathe_pool *p) { return workers_live_here(p) ? p->started + 1 : 1; }
