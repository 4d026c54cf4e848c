/*
 * The SASL plug-in outside libsasl2, for tests and for fuzzing; build it with the sanitizers of gcc.
 *
 *   harness say MECHANISM USER TOKEN HOST [REPLY...]   take the steps of one login, and print each; all texts in hex
 *   harness fuzz SECONDS SEED                          take steps with random texts and failing callbacks
 */

#define _GNU_SOURCE

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../systemd/sasl/oauth2.c"

static struct text user, token;
static int quiet, failing; /* one in `failing` allocations and callbacks fails; 0: none */
static char said[65536];

static int fails(void)
{
    return failing != 0 && rand() % failing == 0;
}

static void *allocate(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void erase(char *buffer, unsigned length)
{
    memset(buffer, 0, length);
}

static void say(const char *kind, const char *format, va_list values)
{
    vsnprintf(said, sizeof(said), format, values);
    if (!quiet)
        printf("%s %s\n", kind, said);
}

static void note(sasl_conn_t *conn, int level, const char *format, ...)
{
    va_list values;

    (void) conn, (void) level;
    va_start(values, format);
    say("log", format, values);
    va_end(values);
}

static void set_error(sasl_conn_t *conn, unsigned flags, const char *format, ...)
{
    va_list values;

    (void) conn, (void) flags;
    va_start(values, format);
    say("error", format, values);
    va_end(values);
}

static int give_user(void *context, int id, const char **result, unsigned *length)
{
    (void) context, (void) id;
    *result = user.start;
    *length = (unsigned) user.length;
    return fails() ? SASL_FAIL : SASL_OK;
}

static sasl_secret_t *secret;

static int give_token(sasl_conn_t *conn, void *context, int id, sasl_secret_t **result)
{
    (void) conn, (void) context, (void) id;
    free(secret);
    secret = malloc(sizeof(*secret) + token.length);
    secret->len = token.length;
    memcpy(secret->data, token.start, token.length);
    *result = secret;
    return fails() ? SASL_FAIL : SASL_OK;
}

static int find_callback(sasl_conn_t *conn, unsigned long id, sasl_callback_ft *callback, void **context)
{
    (void) conn;
    *context = NULL;
    *callback = id == SASL_CB_PASS ? (sasl_callback_ft) (void (*)(void)) give_token
                                   : (sasl_callback_ft) (void (*)(void)) give_user;
    return fails() ? SASL_INTERACT : SASL_OK;
}

static int take_user(sasl_conn_t *conn, const char *name, unsigned length, unsigned flags, sasl_out_params_t *agreed)
{
    (void) conn, (void) name, (void) length, (void) flags, (void) agreed;
    return fails() ? SASL_BUFOVER : SASL_OK;
}

static sasl_utils_t utils = { .malloc = allocate, .free = free, .erasebuffer = erase, .getcallback = find_callback,
    .log = note, .seterror = set_error };

static void print_hex(struct text text)
{
    for (size_t at = 0; at < text.length; at++)
        printf("%02x", (unsigned char) text.start[at]);
    printf("\n");
}

/* Return a copy of exactly its length, so that the sanitizer sees every read past its end. */
static struct text copied(const char *start, size_t length)
{
    char *copy = malloc(length + 1);

    memcpy(copy, start, length);
    copy[length] = '\0';
    return (struct text) { realloc(copy, length + 1), length };
}

static struct text from_hex(const char *hex)
{
    size_t length = strlen(hex) / 2;
    char *bytes = malloc(length + 1);

    for (size_t at = 0; at < length; at++) {
        char pair[3] = { hex[2 * at], hex[2 * at + 1], '\0' };
        bytes[at] = (char) strtol(pair, NULL, 16);
    }
    struct text text = copied(bytes, length);
    free(bytes);
    return text;
}

static sasl_client_plug_t *named(const char *name)
{
    sasl_client_plug_t *list;
    int version, count;

    if (sasl_client_plug_init(&utils, SASL_CLIENT_PLUG_VERSION - 1, &version, &list, &count) != SASL_BADVERS)
        abort();
    if (sasl_client_plug_init(&utils, SASL_CLIENT_PLUG_VERSION, &version, &list, &count) != SASL_OK)
        abort();
    for (int at = 0; at < count; at++)
        if (strcmp(list[at].mech_name, name) == 0)
            return &list[at];
    abort();
}

static int say_login(int count, char **words)
{
    sasl_client_plug_t *plugin = named(words[0]);
    char *host = (char *) from_hex(words[3]).start;
    sasl_client_params_t params = { .utils = &utils, .canon_user = take_user, .serverFQDN = host };
    sasl_out_params_t agreed = { 0 };
    void *context = NULL;

    user = from_hex(words[1]);
    token = from_hex(words[2]);
    if (plugin->mech_new(plugin->glob_context, &params, &context) != SASL_OK)
        return 1;
    for (int at = 3; at < count; at++) {
        struct text reply = at == 3 ? (struct text) { NULL, 0 } : from_hex(words[at]);
        const char *out = NULL;
        unsigned length = 0;
        int result = plugin->mech_step(context, &params, reply.start, (unsigned) reply.length, NULL, &out, &length, &agreed);

        printf("%d ", result);
        print_hex((struct text) { out, length });
        free((char *) reply.start);
    }
    plugin->mech_dispose(context, &utils);
    free((char *) user.start);
    free((char *) token.start);
    free(host);
    free(secret);
    return 0;
}

static const char *const pieces[] = { "a", "user@example.com", "=", ",", "\001", "\"status\"", "\"status\":\"401\"", ":", "\"",
    "400", "12345", " ", "{", "}", "\n", "Bearer ", "\xff", "ya29.a0", "-._~+/", "n,a=", "status" };

/* Return a text of random pieces and bytes, mostly short. */
static struct text any_text(int clean)
{
    static char buffer[40000];
    size_t length = 0, wanted = rand() % 16 == 0 ? (size_t) rand() % 20000 : (size_t) rand() % 64;

    while (length < wanted) {
        if (clean) {
            buffer[length++] = (char) ('a' + rand() % 26);
        } else if (rand() % 4 == 0) {
            buffer[length++] = (char) (rand() % 256);
        } else {
            const char *piece = pieces[(size_t) rand() % (sizeof(pieces) / sizeof(pieces[0]))];
            memcpy(buffer + length, piece, strlen(piece));
            length += strlen(piece);
        }
    }
    return copied(buffer, length);
}

static void require(int holds, const char *fact)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", fact);
        abort();
    }
}

static size_t separators(struct text text)
{
    size_t found = 0;

    for (size_t at = 0; at < text.length; at++)
        found += text.start[at] == 1;
    return found;
}

static int holds(const char *text, struct text part)
{
    return part.length >= 16 && memmem(text, strlen(text), part.start, part.length) != NULL;
}

static void fuzz_login(void)
{
    sasl_client_plug_t *plugin = named(rand() % 2 ? "XOAUTH2" : "OAUTHBEARER");
    struct text host = any_text(rand() % 2);
    sasl_client_params_t params = { .utils = &utils, .canon_user = take_user, .serverFQDN = rand() % 8 ? host.start : NULL };
    sasl_out_params_t agreed = { 0 };
    void *context = NULL;
    int steps = rand() % 5;

    user = any_text(rand() % 4);
    token = any_text(rand() % 4);
    failing = rand() % 4 == 0 ? 1 + rand() % 8 : 0;
    said[0] = '\0';
    if (plugin->mech_new(plugin->glob_context, &params, &context) == SASL_OK) {
        for (int at = 0; at < steps; at++) {
            struct text reply = at == 0 ? (struct text) { NULL, 0 } : any_text(0);
            struct text out = { NULL, 0 };
            unsigned length = 0;
            int result = plugin->mech_step(context, &params, reply.start, (unsigned) reply.length, NULL, &out.start, &length,
                                           &agreed);

            out.length = length;
            require(result == SASL_CONTINUE || result < 0, "no step ends the exchange: the server's reply does");
            if (result == SASL_CONTINUE && length > 1) {
                require(is_token(token) && is_name(user, MAX_USER), "only a clean login is sent");
                require(separators(out) == (plugin->glob_context != NULL && is_name((struct text) { params.serverFQDN,
                        params.serverFQDN == NULL ? 0 : strlen(params.serverFQDN) }, MAX_USER) ? 4 : 3),
                        "no field is forged");
            }
            require(result == SASL_CONTINUE || length == 0, "a failed step sends nothing");
            require(!holds(said, token) && !holds(said, user), "no message shows a login");
            free((char *) reply.start);
        }
        plugin->mech_dispose(context, &utils);
    }
    free((char *) host.start);
    free((char *) user.start);
    free((char *) token.start);
}

int main(int count, char **words)
{
    if (count > 5 && strcmp(words[1], "say") == 0)
        return say_login(count - 2, words + 2);
    if (count == 4 && strcmp(words[1], "fuzz") == 0) {
        time_t end = time(NULL) + atoi(words[2]);
        unsigned long rounds = 0;

        quiet = 1;
        srand((unsigned) atoi(words[3]));
        while (time(NULL) < end)
            for (int at = 0; at < 1000; at++, rounds++)
                fuzz_login();
        free(secret);
        printf("%lu logins\n", rounds);
        return 0;
    }
    return 2;
}
