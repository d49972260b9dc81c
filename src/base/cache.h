/* cache.h: bytes by their key in files of a folder, kept between processes; for what takes long to make.
 *
 * Nothing here fails but for memory: what cannot be read is not there, what cannot be written is not kept. A file is
 *
 *   magic, format, sizes    struct head
 *   the key, whole          compared byte by byte: the file's name is only a hash of it
 *   the value
 *   XXH3-128 of all that    damage of any kind, a file cut short, is a miss; the file goes away
 *
 * and appears whole or not at all: it is written under another name and renamed. Processes share a folder without
 * locks. The sum of all files stays below a limit; those that were not used for the longest go first.
 *
 * A checksum is no defence against who can write the folder: so it is used only if it is the user's own, no link, and
 * nobody else may write it, and a file in it only under the same conditions. */
#ifndef LT_CACHE_H
#define LT_CACHE_H
#include "base/base.h"

typedef struct lt_cache lt_cache;

/* $LATHE_CACHE, else $XDG_CACHE_HOME/lathe, else $HOME/.cache/lathe, made where it is missing. NULL: no cache, and *why
 * says the reason. It is closed with the arena. */
lt_cache *lt_cache_open(lt_arena *a, const char **why);
/* A folder by name; `most`: bytes of all files in it. */
lt_cache *lt_cache_open_at(lt_arena *a, const char *folder, int64_t most, const char **why);
/* The value of the key, in the arena; false: there is none. */
bool lt_cache_get(lt_cache *c, lt_arena *a, lt_bytes key, lt_bytes *value);
/* The value is the parts one behind the other. */
void lt_cache_put(lt_cache *c, lt_arena *a, lt_bytes key, const lt_bytes *part, size_t n);

#endif
