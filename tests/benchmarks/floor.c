/* The floor of reading: step through every row of a table and copy every column into buffers.
 *
 *   cc -O2 -o floor floor.c -ldl && ./floor DATABASE TABLE [nomutex]
 *
 * This is what any reader through SQLite must at least do: one sqlite3_step a row, one type and one
 * value a column, the value laid down in a column buffer of 4,096 rows (fixed width, or bytes and
 * offsets, and a validity byte), which is then used again.  No header is needed: libsqlite3 is loaded
 * by name, and the few prototypes are declared here.  Prints rows, a checksum, and SQLite's version.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;

enum { OK = 0, ROW = 100, DONE = 101, INTEGER = 1, FLOAT = 2, TEXT = 3, BLOB = 4, NUL = 5 };
/* SQLite is opened as it opens by default, with its mutex, which a reader through ADBC cannot leave out
   either; a third argument `nomutex` does without it (worth 15-20%).  4,096 rows a buffer, so that
   buffers stay in the cache. */
enum { OPEN_READONLY = 1, OPEN_NOMUTEX = 0x8000, ROWS = 4096 };

static const char *(*version)(void);
static int (*open_v2)(const char *, sqlite3 **, int, const char *);
static int (*prepare_v2)(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
static int (*step)(sqlite3_stmt *);
static int (*column_count)(sqlite3_stmt *);
static int (*column_type)(sqlite3_stmt *, int);
static int64_t (*column_int64)(sqlite3_stmt *, int);
static double (*column_double)(sqlite3_stmt *, int);
static const void *(*column_blob)(sqlite3_stmt *, int);
static const unsigned char *(*column_text)(sqlite3_stmt *, int);
static int (*column_bytes)(sqlite3_stmt *, int);
static const char *(*errmsg)(sqlite3 *);
static char *(*mprintf)(const char *, ...);

typedef struct {
    union { int64_t i; double d; } fixed[ROWS];
    unsigned char valid[ROWS];
    int64_t offset[ROWS + 1];
    char *bytes;
    size_t room;
} column;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "floor: %s: %s\n", what, why ? why : "");
    exit(1);
}

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (!found)
        die(name, "not in libsqlite3");
    return found;
}

static void load(void)
{
    void *library = dlopen("libsqlite3.so.0", RTLD_NOW);
    if (!library)
        die("libsqlite3.so.0", dlerror());
#define GET(name) *(void **)&name = symbol(library, "sqlite3_" #name)
    *(void **)&version = symbol(library, "sqlite3_libversion");
    GET(open_v2); GET(prepare_v2); GET(step); GET(column_count); GET(column_type); GET(column_int64);
    GET(column_double); GET(column_blob); GET(column_text); GET(column_bytes); GET(errmsg); GET(mprintf);
}

static void lay(column *c, int row, const void *data, size_t size)
{
    size_t at = (size_t)c->offset[row];
    if (at + size > c->room) {
        c->room = (at + size) * 2;
        if (!(c->bytes = realloc(c->bytes, c->room)))
            die("out of memory", "");
    }
    if (size)
        memcpy(c->bytes + at, data, size);
    c->offset[row + 1] = (int64_t)(at + size);
}

static uint64_t store(sqlite3_stmt *statement, int i, column *c, int row)
{
    int type = column_type(statement, i);
    c->valid[row] = type != NUL;
    c->offset[row + 1] = c->offset[row];
    switch (type) {
    case INTEGER:
        c->fixed[row].i = column_int64(statement, i);
        return (uint64_t)c->fixed[row].i;
    case FLOAT:
        c->fixed[row].d = column_double(statement, i);
        return (uint64_t)c->fixed[row].i;
    case TEXT: {
        const unsigned char *text = column_text(statement, i);
        lay(c, row, text, (size_t)column_bytes(statement, i));
        return (uint64_t)(c->offset[row + 1] - c->offset[row]);
    }
    case BLOB: {
        const void *blob = column_blob(statement, i);
        lay(c, row, blob, (size_t)column_bytes(statement, i));
        return (uint64_t)(c->offset[row + 1] - c->offset[row]);
    }
    default:
        return 0;
    }
}

int main(int argc, char **argv)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    uint64_t rows = 0, sum = 0;
    int rc, width, row = 0;

    if (argc < 3)
        die("usage", "floor DATABASE TABLE");
    load();
    int bare = argc > 3 && !strcmp(argv[3], "nomutex");
    if (open_v2(argv[1], &db, OPEN_READONLY | (bare ? OPEN_NOMUTEX : 0), NULL) != OK)
        die(argv[1], db ? errmsg(db) : "");
    if (prepare_v2(db, mprintf("SELECT * FROM \"%w\"", argv[2]), -1, &statement, NULL) != OK)
        die(argv[2], errmsg(db));
    width = column_count(statement);
    column *columns = calloc((size_t)width, sizeof *columns);
    if (!columns)
        die("out of memory", "");
    while ((rc = step(statement)) == ROW) {
        for (int i = 0; i < width; i++)
            sum += store(statement, i, &columns[i], row);
        rows++;
        if (++row == ROWS)
            row = 0;
    }
    if (rc != DONE)
        die("reading", errmsg(db));
    printf("%llu %016llx %s\n", (unsigned long long)rows, (unsigned long long)sum, version());
    return 0;
}
