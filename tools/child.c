/* child.c: an object in a process of its own: what it does to that process stays there.
 *
 * The child is this program again, with a verb that help does not list. It finds in its folder the object, a plan in
 * words (what to call with which blocks) and the record, which both sides map. Nothing else is needed: no compiler, no
 * linker. */
#include "check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the folder ---- */

enum { OBJECT, LIBRARY, RECORD, PLAN, SAID, NAMES };
static const char *const names[] = {
  [OBJECT] = "model.o", [LIBRARY] = "model.so", [RECORD] = "record", [PLAN] = "plan", [SAID] = "said"};
static char folder[4096], file[NAMES][4096 + 16]; /* written before a signal can need them */
static volatile pid_t running;

/* The child and what it has started must be gone before the folder goes: they make files, too. A C compiler takes its
 * own temporary files away when it is asked to end; what does not end within two seconds is killed. */
static void end_child(void) {
  enum { STEP_MS = 10, STEPS = 200, MORE = 20 };
  int gone = 0;
  kill(-running, SIGTERM);
  for (int i = 0; i < STEPS && !gone; i++) {
    gone = waitpid(running, NULL, WNOHANG) != 0;
    if (!gone) poll(NULL, 0, STEP_MS);
  }
  kill(-running, SIGKILL);
  if (!gone) waitpid(running, NULL, 0);
  /* its own children are not ours to wait for */
  for (int i = 0; i < MORE && kill(-running, 0) == 0; i++) poll(NULL, 0, STEP_MS);
  running = 0;
}

/* What a program that was stopped has left. Its folder is also its TMPDIR: compilers that are asked to end sometimes
 * forget a temporary file. Only while one runs, when the process waits for it and is not inside malloc. */
static void sweep(void) {
  DIR *d = opendir(folder);
  for (struct dirent *e; d && (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
  if (d) closedir(d);
}

static void remove_all(void) { /* also from signal handlers */
  if (!folder[0]) return;
  if (running > 0) end_child(), sweep();
  for (int i = 0; i < NAMES; i++) unlink(file[i]);
  rmdir(folder);
  folder[0] = '\0';
}

static void on_signal(int sig) {
  remove_all();
  signal(sig, SIG_DFL);
  raise(sig);
}

static const int fatal[] = {SIGINT, SIGTERM, SIGHUP};

static sigset_t without_fatal(void) { /* blocks them; gives the mask before */
  sigset_t set, old;
  sigemptyset(&set);
  for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) sigaddset(&set, fatal[i]);
  sigprocmask(SIG_BLOCK, &set, &old);
  return old;
}

void folder_open(const cli *c) {
  const char *base = getenv("TMPDIR");
  if (!base || !*base) base = "/tmp";
  char path[sizeof folder];
  if ((size_t)snprintf(path, sizeof path, "%s/lathe-check-XXXXXX", base) >= sizeof path)
    fail_work(c, "TMPDIR is longer than %zu bytes", sizeof path);
  if (!mkdtemp(path))
    fail_work(c, "cannot make a folder in %s: %s\nhelp: set TMPDIR to one that can be written", base, strerror(errno));
  for (int i = 0; i < NAMES; i++) snprintf(file[i], sizeof file[i], "%s/%s", path, names[i]);
  memcpy(folder, path, sizeof path);
  before_leaving = remove_all;
  for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
    if (signal(fatal[i], on_signal) == SIG_IGN) signal(fatal[i], SIG_IGN); /* as nohup wants it */
}

void folder_close(void) {
  remove_all();
  before_leaving = NULL;
}

char *folder_path(const char *name) { return format("%s/%s", folder, name); }

/* ---- processes ---- */

static pid_t fork_with_tmpdir(const char *dir) {
  const char *now = getenv("TMPDIR");
  char *own = now ? format("%s", now) : NULL;
  setenv("TMPDIR", dir, 1);
  pid_t pid = fork();
  if (pid && own) setenv("TMPDIR", own, 1);
  if (pid && !own) unsetenv("TMPDIR");
  free(own);
  return pid;
}

/* Runs a program in the folder, what it says going to the file `said`. The wait status, or -1. */
static int run_program(const char *program, char *const argv[], unsigned seconds) {
  sigset_t old = without_fatal(); /* until the handler can know of the child; the child has no handler of ours */
  pid_t pid = fork_with_tmpdir(".");
  if (pid == 0) {
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
      if (signal(fatal[i], SIG_DFL) == SIG_IGN) signal(fatal[i], SIG_IGN);
    sigprocmask(SIG_SETMASK, &old, NULL);
    setpgid(0, 0);
    int fd = chdir(folder) == 0 ? open("said", O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) _exit(126);
    signal(SIGALRM, SIG_DFL);
    alarm(seconds); /* outlives exec: no child stays behind */
    execvp(program, argv);
    _exit(errno == ENOENT || errno == EACCES ? 127 : 126);
  }
  if (pid > 0) setpgid(pid, pid); /* on both sides: whoever comes first */
  running = pid > 0 ? pid : 0;
  sigprocmask(SIG_SETMASK, &old, NULL);
  if (pid < 0) return -1;
  int status;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) {
      status = -1;
      break;
    }
  running = 0;
  return status;
}

/* What the program has said, without the last newline. */
static char *read_said(void) {
  char text[1024];
  FILE *f = fopen(file[SAID], "rb");
  size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
  if (f) fclose(f);
  while (n && text[n - 1] == '\n') n--;
  text[n] = '\0';
  return format("%s", text);
}

static char *status_text(const char *who, int status, unsigned seconds) {
  char *said = read_said(), *text;
  if (status == -1) text = format("%s could not be started: %s\n", who, strerror(errno));
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    text = format("%s did not end within %u seconds\n", who, seconds);
  else if (WIFSIGNALED(status))
    text = format("%s was killed by signal %d (%s)\n", who, WTERMSIG(status), strsignal(WTERMSIG(status)));
  else text = format("%s gave up with exit code %d%s%s\n", who, WEXITSTATUS(status), *said ? ": " : "", said);
  free(said);
  return text;
}

char *link_shared(bool *missing) {
  enum { SECONDS = 120 };
  char *argv[] = {"cc", "-shared", "-nostdlib", "-o", "model.so", "model.o", NULL};
  int status = run_program("cc", argv, SECONDS);
  *missing = status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 127;
  return status == 0 ? NULL : status_text("the C compiler", status, SECONDS);
}

/* ---- the parent's side ---- */

static void write_plan(const cli *c, const layout *l, uint64_t seed) {
  FILE *f = fopen(file[PLAN], "wb");
  if (!f) fail_work(c, "cannot write %s: %s", file[PLAN], strerror(errno));
  fprintf(f, "%" PRId64 " %d %" PRId64 " %" PRId64 " %" PRIu64 " %s_state_init\n", l->bytes, l->trains, l->image_at,
          l->init_at, seed, CHECK_PREFIX);
  fprintf(f, "%s_%s %" PRId64 " %zu", CHECK_PREFIX, l->entry, l->scratch_bytes, l->io.n);
  for (size_t i = 0; i < l->io.n; i++) fprintf(f, " %" PRId64, l->at[i]);
  if (ferror(f) | fclose(f)) fail_work(c, "cannot write %s", file[PLAN]);
}

static void write_record(const cli *c, const unsigned char *record, int64_t bytes) {
  FILE *f = fopen(file[RECORD], "wb");
  if (!f) fail_work(c, "cannot write %s: %s", file[RECORD], strerror(errno));
  size_t put = fwrite(record, 1, (size_t)bytes, f);
  if ((put != (size_t)bytes) | ferror(f) | fclose(f))
    fail_work(c, "cannot write %s: %s", file[RECORD], strerror(errno));
}

static void read_record(const cli *c, unsigned char *record, int64_t bytes) {
  FILE *f = fopen(file[RECORD], "rb");
  if (!f || fread(record, 1, (size_t)bytes, f) != (size_t)bytes) fail_work(c, "cannot read %s", file[RECORD]);
  fclose(f);
}

char *child_call(const cli *c, const layout *l, const char *object, unsigned char *record, uint64_t seed,
                 unsigned seconds) {
  char *argv[] = {"lathe", "check-object", (char *)object, NULL};
  write_plan(c, l, seed);
  write_record(c, record, l->bytes);
  int status = run_program("/proc/self/exe", argv, seconds);
  if (status) return status_text("the child", status, seconds);
  read_record(c, record, l->bytes);
  int32_t returned;
  memcpy(&returned, record, sizeof returned);
  return returned ? format("the entry returned %d: %s\n", returned, lathe_status_text(returned)) : NULL;
}

/* ---- the child's side ---- */

typedef struct plan {
  int64_t bytes, image_at, init_at, scratch, *at;
  int trains;
  uint64_t seed;
  char init[64], entry[64];
  size_t n;
} plan;

static _Noreturn void fail_plan(const cli *c) {
  fail_work(c, "this verb is for `lathe check`, which writes a plan beside the object");
}

static plan read_plan(const cli *c) {
  plan p = {0};
  FILE *f = fopen("plan", "rb");
  if (!f) fail_plan(c);
  int got = fscanf(f, "%" SCNd64 " %d %" SCNd64 " %" SCNd64 " %" SCNu64 " %63s %63s %" SCNd64 " %zu", &p.bytes,
                   &p.trains, &p.image_at, &p.init_at, &p.seed, p.init, p.entry, &p.scratch, &p.n);
  if (got != 9 || p.n > 1 << 20) fail_plan(c);
  p.at = need(calloc(p.n + 1, sizeof *p.at));
  for (size_t i = 0; i < p.n; i++)
    if (fscanf(f, "%" SCNd64, &p.at[i]) != 1 || p.at[i] >= p.bytes) fail_plan(c);
  fclose(f);
  return p;
}

static unsigned char *map_tape(const cli *c, int64_t bytes) {
  int fd = open("record", O_RDWR);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) || st.st_size != bytes) fail_plan(c);
  void *at = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) fail_work(c, "cannot map the record: %s", strerror(errno));
  close(fd);
  return at;
}

/* ISO C has no conversion from object to function pointers; POSIX promises that the bits are the same. */
typedef struct code { lathe_object *object; void *library; } code;

static code load_code(const cli *c) {
  lathe_error e;
  code x = {NULL, NULL};
  size_t n = strlen(c->model);
  if (n > 3 && strcmp(c->model + n - 3, ".so") == 0) {
    char *path = format("./%s", c->model);
    x.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!x.library) fail_work(c, "%s", dlerror());
    free(path);
  } else if (!(x.object = lathe_object_load(c->model, &e))) fail_api(c, &e);
  return x;
}

static void find_code(const cli *c, const code *x, const char *symbol, void *fn) {
  void *at = x->library ? dlsym(x->library, symbol) : lathe_object_find(x->object, symbol);
  if (!at) fail_work(c, "%s has no symbol %s", c->model, symbol);
  memcpy(fn, &at, sizeof at);
}

typedef int (*init_fn)(void *state, uint64_t seed);

/* The state as the object makes it, and its header for the state that the call goes on with. */
static int32_t start_state(const cli *c, const code *x, const plan *p, unsigned char *record) {
  init_fn init;
  find_code(c, x, p->init, &init);
  int32_t status = init(record + p->init_at, p->seed);
  memcpy(record + p->image_at, record + p->init_at, RECORD_ALIGN);
  return status;
}

int verb_check_object(cli *c) {
  plan p = read_plan(c);
  unsigned char *record = map_tape(c, p.bytes);
  code x = load_code(c);
  lathe_fn entry;
  find_code(c, &x, p.entry, &entry);
  const void **io = need(calloc(p.n + 1, sizeof *io)); /* the last one is `parallel`: serial */
  for (size_t i = 0; i < p.n; i++) io[i] = p.at[i] < 0 ? NULL : record + p.at[i];
  size_t scratch_bytes = ((size_t)p.scratch + RECORD_ALIGN) / RECORD_ALIGN * RECORD_ALIGN;
  void *scratch = need(aligned_alloc(RECORD_ALIGN, scratch_bytes));
  memset(scratch, 0xFF, scratch_bytes);
  int32_t status = p.trains ? start_state(c, &x, &p, record) : 0;
  if (!status) status = entry(io, p.trains ? record + p.image_at : NULL, scratch);
  memcpy(record, &status, sizeof status);
  munmap(record, (size_t)p.bytes);
  free(scratch);
  free(io);
  free(p.at);
  lathe_object_free(x.object);
  return 0;
}
