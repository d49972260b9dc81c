/* replay.c: runs a fuzz target over files and folders, one TAP line each; the corpus of a target is replayed so in
 * every test run. With -Dfuzz=true the same target is built with libFuzzer: see docs/hacking.md. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int lines;

static void replay_file(const char *path) {
  FILE *f = fopen(path, "rb");
  struct stat s;
  if (!f || fstat(fileno(f), &s)) {
    printf("not ok %d - %s: cannot be read\n", ++lines, path);
    exit(1);
  }
  size_t n = (size_t)s.st_size;
  uint8_t *data = malloc(n ? n : 1); /* no spare byte: reading past the end is seen */
  if (!data || fread(data, 1, n, f) != n) abort();
  fclose(f);
  fprintf(stderr, "%s\n", path);
  LLVMFuzzerTestOneInput(data, n);
  free(data);
}

static void replay(const char *path) {
  DIR *d = opendir(path);
  if (!d) {
    replay_file(path);
    printf("ok %d - %s\n", ++lines, path);
    return;
  }
  int files = 0;
  for (struct dirent *e; (e = readdir(d));) {
    char inner[4096];
    if (e->d_name[0] == '.') continue;
    snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
    replay_file(inner);
    files++;
  }
  closedir(d);
  printf("%s %d - %s: %d files\n", files ? "ok" : "not ok", ++lines, path, files);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) replay(argv[i]);
  printf("1..%d\n", lines);
  return lines == 0;
}
