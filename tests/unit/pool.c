/* pool.c: the thread pool: every index exactly once for any number of threads, nested calls, fork, too few threads. */
#include "check_main.h"
#include "runtime/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_N = 5000 };
typedef struct counts { _Atomic int hit[MAX_N]; _Atomic int outside; int64_t n; } counts;

static void hit(void *arg, int64_t i) {
  counts *c = arg;
  if (i < 0 || i >= c->n) c->outside++;
  else c->hit[i]++;
}

/* How many of n indices were not run exactly once. */
static int wrong(const lathe_parallel *par, counts *c, int64_t n) {
  memset(c, 0, sizeof *c);
  c->n = n;
  par->run(par->ctx, n, hit, c);
  int bad = c->outside;
  for (int64_t i = 0; i < MAX_N; i++) bad += c->hit[i] != (i < n);
  return bad;
}

START_TEST(every_index_once) {
  counts c;
  for (int threads = 1; threads <= 16; threads++) {
    lathe_pool *p = lathe_pool_new(threads);
    const lathe_parallel *par = lathe_pool_parallel(p);
    for (int round = 0; round < 40; round++)
      for (int64_t n = 0; n < MAX_N; n = n * 3 + 1) ck_assert_int_eq(wrong(par, &c, n), 0);
    ck_assert_int_eq(lathe_pool_running(p), threads);
    lathe_pool_free(p);
  }
}
END_TEST

static void add(void *sum, int64_t i) { *(_Atomic int64_t *)sum += i; }

START_TEST(more_indices_than_a_job_has) {
  for (int threads = 1; threads <= 3; threads++) {
    lathe_pool *p = lathe_pool_new(threads);
    const lathe_parallel *par = lathe_pool_parallel(p);
    for (int64_t n = 65534; n <= 200000; n = n < 65537 ? n + 1 : n * 3) {
      _Atomic int64_t sum = 0;
      par->run(par->ctx, n, add, &sum);
      ck_assert_int_eq(sum, n * (n - 1) / 2);
    }
    lathe_pool_free(p);
  }
}
END_TEST

enum { OTHERS = 7 };

static void wait_for_the_others(void *arg, int64_t i) {
  _Atomic int *done = arg;
  if (i == 0)
    while (*done < OTHERS) usleep(100);
  else *done += 1;
}

/* A thread that comes no further leaves what it has not begun to the others. */
START_TEST(shares_are_taken_over) {
  lathe_pool *p = lathe_pool_new(2);
  const lathe_parallel *par = lathe_pool_parallel(p);
  for (int round = 0; round < 20; round++) {
    _Atomic int done = 0;
    par->run(par->ctx, OTHERS + 1, wait_for_the_others, &done);
    ck_assert_int_eq(done, OTHERS);
  }
  lathe_pool_free(p);
}
END_TEST

START_TEST(threads_start_at_the_first_parallel_call) {
  counts c;
  lathe_pool *p = lathe_pool_new(4);
  ck_assert_int_eq(lathe_pool_running(p), 1);
  ck_assert_int_eq(wrong(lathe_pool_parallel(p), &c, 1), 0); /* one index is no parallel call */
  ck_assert_int_eq(lathe_pool_running(p), 1);
  ck_assert_int_eq(wrong(lathe_pool_parallel(p), &c, 100), 0);
  ck_assert_int_eq(lathe_pool_running(p), 4);
  lathe_pool_free(p);
  lathe_pool_free(lathe_pool_new(8)); /* never used */
  lathe_pool_free(NULL);
}
END_TEST

START_TEST(work_after_sleep) {
  counts c;
  lathe_pool *p = lathe_pool_new(3);
  for (int i = 0; i < 20; i++) {
    ck_assert_int_eq(wrong(lathe_pool_parallel(p), &c, 333), 0);
    usleep(2000); /* longer than anyone spins */
  }
  lathe_pool_free(p);
}
END_TEST

static void slow_last(void *arg, int64_t i) {
  if (i == 0) usleep(5000); /* the caller, or a worker, is late: the others sleep meanwhile */
  hit(arg, i);
}

START_TEST(caller_waits_for_a_slow_worker) {
  static counts c;
  lathe_pool *p = lathe_pool_new(4);
  const lathe_parallel *par = lathe_pool_parallel(p);
  for (int round = 0; round < 10; round++) {
    memset(&c, 0, sizeof c);
    c.n = 4;
    par->run(par->ctx, 4, slow_last, &c);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(c.hit[i], 1);
  }
  lathe_pool_free(p);
}
END_TEST

typedef struct nest { const lathe_parallel *par; _Atomic int64_t sum, moved; } nest;
typedef struct nest_call { nest *all; pthread_t owner; } nest_call;

static void inner(void *arg, int64_t i) {
  nest_call *c = arg;
  c->all->sum += i;
  if (!pthread_equal(c->owner, pthread_self())) c->all->moved++;
}
static void outer(void *arg, int64_t i) {
  nest_call c = {arg, pthread_self()};
  (void)i;
  c.all->par->run(c.all->par->ctx, 10, inner, &c);
}

START_TEST(nested_calls_run_on_the_spot) {
  lathe_pool *p = lathe_pool_new(4);
  nest all = {.par = lathe_pool_parallel(p)};
  all.par->run(all.par->ctx, 100, outer, &all);
  ck_assert_int_eq(all.sum, 100 * 45);
  ck_assert_int_eq(all.moved, 0);
  lathe_pool_free(p);
}
END_TEST

/* The child's exit status: 0 when the pool still works there with its own threads. */
static int in_child(lathe_pool *p, int threads) {
  static counts c;
  pid_t pid = fork();
  if (pid == 0) {
    int bad = 0;
    alarm(20);
    for (int i = 0; i < 50; i++) bad += wrong(lathe_pool_parallel(p), &c, 1000);
    bad += lathe_pool_running(p) != threads;
    lathe_pool_free(p);
    _exit(bad != 0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

START_TEST(survives_fork) {
  if (LT_THREAD_SANITIZER) LT_SKIP("a sanitizer (thread) knows no new threads after a fork with threads");
  static counts c;
  lathe_pool *p = lathe_pool_new(4);
  ck_assert_int_eq(in_child(p, 4), 0); /* before any thread */
  for (int i = 0; i < 5; i++) {
    ck_assert_int_eq(wrong(lathe_pool_parallel(p), &c, 1000), 0);
    ck_assert_int_eq(in_child(p, 4), 0);
  }
  pid_t pid = fork(); /* freed without a call */
  if (pid == 0) {
    alarm(20);
    lathe_pool_free(p);
    _exit(0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  ck_assert_int_eq(status, 0);
  ck_assert_int_eq(wrong(lathe_pool_parallel(p), &c, 1000), 0);
  lathe_pool_free(p);
}
END_TEST

/* The first call must not return while its workers hold locks on their way up: the child could never start its own. */
START_TEST(survives_fork_right_after_the_start) {
  if (LT_THREAD_SANITIZER) LT_SKIP("a sanitizer (thread) knows no new threads after a fork with threads");
  static counts c;
  for (int i = 0; i < 30; i++) {
    lathe_pool *p = lathe_pool_new(4);
    ck_assert_int_eq(wrong(lathe_pool_parallel(p), &c, 2), 0);
    ck_assert_int_eq(in_child(p, 4), 0);
    lathe_pool_free(p);
  }
}
END_TEST

static void *own_pool(void *bad) {
  counts *c = malloc(sizeof *c);
  lathe_pool *p = lathe_pool_new(3);
  for (int i = 0; i < 100; i++) *(int *)bad += wrong(lathe_pool_parallel(p), c, 500);
  lathe_pool_free(p);
  free(c);
  return NULL;
}

START_TEST(pools_do_not_know_each_other) {
  pthread_t t[4];
  int bad[4] = {0};
  for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&t[i], NULL, own_pool, &bad[i]), 0);
  for (int i = 0; i < 4; i++) {
    pthread_join(t[i], NULL);
    ck_assert_int_eq(bad[i], 0);
  }
}
END_TEST

START_TEST(goes_on_with_fewer_threads) {
  if (LT_ADDRESS_SANITIZER || LT_THREAD_SANITIZER)
    LT_SKIP("a sanitizer reserves address space that the limit would cut");
  /* Room for some stacks of 8 MiB, not for 63. */
  FILE *f = fopen("/proc/self/statm", "r");
  long pages = 0;
  ck_assert(f && fscanf(f, "%ld", &pages) == 1);
  fclose(f);
  rlim_t now = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
  static counts c;
  lathe_pool *p = lathe_pool_new(64);
  struct rlimit limit = {now + (100u << 20), now + (100u << 20)};
  ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
  ck_assert_int_eq(wrong(lathe_pool_parallel(p), &c, 1000), 0);
  ck_assert_int_lt(lathe_pool_running(p), 64);
  lathe_pool_free(p);
}
END_TEST

LT_SUITE(pool, every_index_once, more_indices_than_a_job_has, shares_are_taken_over,
         threads_start_at_the_first_parallel_call, work_after_sleep, caller_waits_for_a_slow_worker,
         nested_calls_run_on_the_spot, survives_fork, survives_fork_right_after_the_start, pools_do_not_know_each_other,
         goes_on_with_fewer_threads)
LT_TEST_MAIN(pool)
