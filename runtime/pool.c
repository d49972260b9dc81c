/* pool.c: see pool.h.
 *
 * Work is handed out through one word, the ticket: the number of the job in its upper half, the next index in its
 * lower. A thread claims indices by moving the ticket on with a compare-and-swap, so a claim can only succeed in the
 * job it was read in, and a thread that wakes up late claims nothing: nobody has to wait for threads that did no work.
 * The job's fields change only while the ticket says CLOSED; they are read with acquire and written with release, so
 * that whoever saw a new field fails to claim under an old ticket. The caller waits for the count of finished indices.
 *
 * Both sides spin for a while before they sleep: the calls of one entry follow each other within microseconds. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 1024, SPINS = 2000, SPINS_CROWDED = 20, CHUNKS_PER_THREAD = 8 };
#define CLOSED UINT32_C(0xffffffff)
#define MAX_ROUND INT64_C(0x7fffffff) /* indices in one job */

struct lathe_pool {
  lathe_parallel parallel;
  int threads, started, spins; /* started: workers of this process; -1: not tried yet */
  pid_t pid;                   /* the process the workers live in */
  pthread_t *worker;           /* [threads - 1] */
  pthread_mutex_t lock;        /* for sleeping only */
  pthread_cond_t wake, finished;
  atomic_int sleepers, caller_sleeps, stop;
  int arrived; /* workers that reached worker_main; under the lock */
  _Alignas(64) _Atomic uint64_t ticket;
  _Atomic int64_t n, chunk;
  _Atomic int64_t first; /* what index 0 of this round stands for */
  _Atomic(void *) arg;
  _Atomic(void (*)(void *arg, int64_t i)) body;
  _Alignas(64) _Atomic int64_t done;
};

static _Thread_local bool inside; /* this thread is running a body */

static uint64_t ticket_of(uint32_t job, uint32_t index) { return (uint64_t)job << 32 | index; }
static uint32_t ticket_job(uint64_t t) { return (uint32_t)(t >> 32); }
static uint32_t ticket_index(uint64_t t) { return (uint32_t)t; }

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/* ---- the work itself, on every thread ---- */

static void finish(lathe_pool *p, int64_t count, int64_t n) {
  if (atomic_fetch_add(&p->done, count) + count < n || !atomic_load(&p->caller_sleeps)) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_signal(&p->finished);
  pthread_mutex_unlock(&p->lock);
}

static void work(lathe_pool *p) {
  for (;;) {
    uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    if (ticket_index(t) == CLOSED) return;
    int64_t n = atomic_load_explicit(&p->n, memory_order_acquire);
    int64_t chunk = atomic_load_explicit(&p->chunk, memory_order_acquire);
    int64_t first = atomic_load_explicit(&p->first, memory_order_acquire);
    void *arg = atomic_load_explicit(&p->arg, memory_order_acquire);
    void (*body)(void *, int64_t) = atomic_load_explicit(&p->body, memory_order_acquire);
    int64_t i = ticket_index(t);
    if (i >= n) return;
    int64_t end = i + chunk < n ? i + chunk : n;
    if (!atomic_compare_exchange_strong(&p->ticket, &t, ticket_of(ticket_job(t), (uint32_t)end))) continue;
    for (int64_t k = i; k < end; k++) body(arg, first + k);
    finish(p, end - i, n);
  }
}

/* ---- workers ---- */

/* Is there a job other than `seen`? Then `seen` becomes it. */
static bool take_job(lathe_pool *p, uint32_t *seen) {
  uint64_t t = atomic_load(&p->ticket);
  if (ticket_job(t) == *seen || ticket_index(t) == CLOSED) return false;
  *seen = ticket_job(t);
  return true;
}

/* Waits for the next job; false when the pool ends. */
static bool next_job(lathe_pool *p, uint32_t *seen) {
  for (int i = 0; i < p->spins && !atomic_load(&p->stop); i++) {
    if (take_job(p, seen)) return true;
    relax();
  }
  bool taken = false;
  pthread_mutex_lock(&p->lock);
  atomic_fetch_add(&p->sleepers, 1);
  while (!atomic_load(&p->stop) && !(taken = take_job(p, seen))) pthread_cond_wait(&p->wake, &p->lock);
  atomic_fetch_sub(&p->sleepers, 1);
  pthread_mutex_unlock(&p->lock);
  return taken;
}

static void *worker_main(void *pool) {
  lathe_pool *p = pool;
  uint32_t seen = 0;
  inside = true;
  pthread_mutex_lock(&p->lock);
  p->arrived++;
  pthread_cond_signal(&p->finished);
  pthread_mutex_unlock(&p->lock);
  while (next_job(p, &seen)) work(p);
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
  p->spins = p->threads <= usable_cpus() ? SPINS : SPINS_CROWDED;
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
  atomic_store(&p->ticket, ticket_of(0, CLOSED));
  p->arrived = 0;
  p->started = -1;
}

static bool workers_live_here(const lathe_pool *p) { return p->started > 0 && p->pid == getpid(); }

/* ---- the caller ---- */

static void publish(lathe_pool *p, int64_t first, int64_t n, void (*body)(void *, int64_t), void *arg) {
  uint32_t job = ticket_job(atomic_load(&p->ticket)) + 1;
  int64_t chunk = n / ((int64_t)(p->started + 1) * CHUNKS_PER_THREAD);
  atomic_store(&p->ticket, ticket_of(job, CLOSED));
  atomic_store_explicit(&p->n, n, memory_order_release);
  atomic_store_explicit(&p->chunk, chunk > 1 ? chunk : 1, memory_order_release);
  atomic_store_explicit(&p->first, first, memory_order_release);
  atomic_store_explicit(&p->arg, arg, memory_order_release);
  atomic_store_explicit(&p->body, body, memory_order_release);
  atomic_store(&p->done, 0);
  atomic_store(&p->ticket, ticket_of(job, 0));
  if (atomic_load(&p->sleepers) == 0) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

static void wait_for_all(lathe_pool *p, int64_t n) {
  for (int i = 0; i < p->spins && atomic_load(&p->done) < n; i++) relax();
  if (atomic_load(&p->done) == n) return;
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->caller_sleeps, 1);
  while (atomic_load(&p->done) < n) pthread_cond_wait(&p->finished, &p->lock);
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
    work(p);
    wait_for_all(p, round);
  }
  inside = false;
}

/* ---- life ---- */

lathe_pool *lathe_pool_new(int threads) {
  if (threads < 1) threads = 1;
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  lathe_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
  if (!p) return NULL;
  memset(p, 0, sizeof *p);
  p->worker = calloc((size_t)threads, sizeof *p->worker);
  if (!p->worker) {
    free(p);
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
  free(p->worker);
  free(p);
}

const lathe_parallel *lathe_pool_parallel(lathe_pool *p) { return &p->parallel; }
int lathe_pool_running(const lathe_pool *p) { return workers_live_here(p) ? p->started + 1 : 1; }
