/*
 * Client plug-in of Cyrus SASL for the mechanisms XOAUTH2 and OAUTHBEARER (RFC 7628).
 *
 * The password of the application is the access token. There is nothing else: no file, no network, no configuration. It
 * needs no library, so that it fits every release of libsasl2 with the same plug-in interface.
 *
 * Promise: a user name or a token that could forge a field of the message is refused. Neither is ever logged. To be
 * installed changes no login: libsasl2 takes one of several mechanisms that are equal to it, and would send a password
 * as a token. So these mechanisms lack SASL_SEC_NOANONYMOUS. They are suitable only where an application does not demand
 * it, as Postfix does by default: Postward empties smtp_sasl_tls_security_options for relays that take tokens, beside a
 * filter of mechanisms.
 */

#include <string.h>

#include <sasl/sasl.h>
#include <sasl/saslplug.h>

#define MAX_USER 1024
#define MAX_TOKEN 16384
#define KVSEP "\001"

struct login {
    int is_bearer;       /* OAUTHBEARER, else XOAUTH2 */
    int refusals;        /* error messages that the server has sent */
    char *message;       /* the first message, with the token; NULL before */
    size_t length;
};

struct text {
    const char *start;
    size_t length;
};

/* Return whether a user or host name has only characters that cannot end a field. */
static int is_name(struct text text, size_t max)
{
    if (text.length == 0 || text.length > max)
        return 0;
    for (size_t at = 0; at < text.length; at++)
        if ((unsigned char) text.start[at] < 0x20 || text.start[at] == 0x7f)
            return 0;
    return 1;
}

/* Return whether a text is a bearer token (RFC 6750, 2.1). */
static int is_token(struct text text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";

    if (text.length == 0 || text.length > MAX_TOKEN)
        return 0;
    for (size_t at = 0; at < text.length; at++)
        if (memchr(allowed, text.start[at], sizeof(allowed) - 1) == NULL)
            return 0;
    return 1;
}

/* Append a text to the message if it has room; count its length in any case. */
static void append(struct login *login, const char *text, size_t length)
{
    if (login->message != NULL)
        memcpy(login->message + login->length, text, length);
    login->length += length;
}

static void append_string(struct login *login, const char *string)
{
    append(login, string, strlen(string));
}

/* Append a user name as a saslname, in which comma and equals sign have another form (RFC 5801, 4). */
static void append_saslname(struct login *login, struct text user)
{
    for (size_t at = 0; at < user.length; at++) {
        if (user.start[at] == ',')
            append_string(login, "=2C");
        else if (user.start[at] == '=')
            append_string(login, "=3D");
        else
            append(login, user.start + at, 1);
    }
}

static void compose(struct login *login, struct text user, struct text token, const char *host)
{
    struct text name = { host, host == NULL ? 0 : strlen(host) };

    login->length = 0;
    if (login->is_bearer) {
        append_string(login, "n,a=");
        append_saslname(login, user);
        append_string(login, ",");
        if (is_name(name, MAX_USER)) {
            append_string(login, KVSEP "host=");
            append(login, name.start, name.length);
        }
    } else {
        append_string(login, "user=");
        append(login, user.start, user.length);
    }
    append_string(login, KVSEP "auth=Bearer ");
    append(login, token.start, token.length);
    append_string(login, KVSEP KVSEP);
}

static int get_user(const sasl_utils_t *utils, struct text *user)
{
    sasl_getsimple_t *get = NULL;
    void *context = NULL;
    unsigned length = 0;
    int result = utils->getcallback(utils->conn, SASL_CB_AUTHNAME, (sasl_callback_ft *) &get, &context);

    if (result != SASL_OK || get == NULL)
        return SASL_FAIL;
    result = get(context, SASL_CB_AUTHNAME, &user->start, &length);
    if (result != SASL_OK || user->start == NULL)
        return SASL_FAIL;
    user->length = length != 0 ? length : strlen(user->start);
    return SASL_OK;
}

static int get_token(const sasl_utils_t *utils, struct text *token)
{
    sasl_getsecret_t *get = NULL;
    void *context = NULL;
    sasl_secret_t *secret = NULL;
    int result = utils->getcallback(utils->conn, SASL_CB_PASS, (sasl_callback_ft *) &get, &context);

    if (result != SASL_OK || get == NULL)
        return SASL_FAIL;
    result = get(utils->conn, context, SASL_CB_PASS, &secret);
    if (result != SASL_OK || secret == NULL)
        return SASL_FAIL;
    token->start = (const char *) secret->data;
    token->length = secret->len;
    return SASL_OK;
}

/* Send the whole login in one message. The server's reply ends it, unless it is an error message. */
static int first_step(struct login *login, sasl_client_params_t *params, const char **out, unsigned *out_length,
                      sasl_out_params_t *agreed)
{
    const sasl_utils_t *utils = params->utils;
    struct text user = { NULL, 0 }, token = { NULL, 0 };
    int result = SASL_OK;

    if (get_user(utils, &user) != SASL_OK || get_token(utils, &token) != SASL_OK)
        return SASL_FAIL;
    if (!is_name(user, MAX_USER)) {
        utils->seterror(utils->conn, 0, "the user name is empty, too long, or has control characters");
        return SASL_BADPARAM;
    }
    if (!is_token(token)) {
        utils->seterror(utils->conn, 0, "the password is not a token of OAuth2");
        return SASL_BADPARAM;
    }
    result = params->canon_user(utils->conn, user.start, (unsigned) user.length, SASL_CU_AUTHID | SASL_CU_AUTHZID, agreed);
    if (result != SASL_OK)
        return result;
    compose(login, user, token, params->serverFQDN);
    login->message = utils->malloc(login->length);
    if (login->message == NULL)
        return SASL_NOMEM;
    compose(login, user, token, params->serverFQDN);
    agreed->doneflag = 0;
    agreed->mech_ssf = 0;
    agreed->maxoutbuf = 0;
    agreed->encode_context = NULL;
    agreed->encode = NULL;
    agreed->decode_context = NULL;
    agreed->decode = NULL;
    agreed->param_version = 0;
    *out = login->message;
    *out_length = (unsigned) login->length;
    return SASL_CONTINUE;
}

/* Copy the three digits of "status" in the server's JSON, or "none". Nothing else of it is logged. */
static void find_status(struct text json, char status[5])
{
    static const char key[] = "\"status\"";
    const size_t key_length = sizeof(key) - 1;

    memcpy(status, "none", 5);
    for (size_t at = 0; at + key_length < json.length; at++) {
        size_t digits = 0;

        if (memcmp(json.start + at, key, key_length) != 0)
            continue;
        at += key_length;
        while (at < json.length && memchr(" \t:\"", json.start[at], 4) != NULL)
            at++;
        while (digits < 4 && at + digits < json.length && json.start[at + digits] >= '0' && json.start[at + digits] <= '9')
            digits++;
        if (digits == 3) {
            memcpy(status, json.start + at, 3);
            status[3] = '\0';
        }
        return;
    }
}

/* Answer the server's error message as the mechanism requires: then the server refuses the login by its usual reply. */
static int refused_step(struct login *login, const sasl_utils_t *utils, struct text json, const char **out,
                        unsigned *out_length)
{
    char status[5];

    if (login->refusals++ > 0)
        return SASL_BADPROT;
    find_status(json, status);
    utils->log(utils->conn, SASL_LOG_ERR, "postward: the relay refuses the token by %s, status %s",
               login->is_bearer ? "OAUTHBEARER" : "XOAUTH2", status);
    *out = login->is_bearer ? KVSEP : "";
    *out_length = login->is_bearer ? 1 : 0;
    return SASL_CONTINUE;
}

static int step(void *context, sasl_client_params_t *params, const char *in, unsigned in_length,
                sasl_interact_t **prompts, const char **out, unsigned *out_length, sasl_out_params_t *agreed)
{
    struct login *login = context;
    struct text json = { in, in == NULL ? 0 : in_length };

    (void) prompts;
    *out = "";
    *out_length = 0;
    if (login->message == NULL)
        return first_step(login, params, out, out_length, agreed);
    return refused_step(login, params->utils, json, out, out_length);
}

static int begin(void *is_bearer, sasl_client_params_t *params, void **context)
{
    struct login *login = params->utils->malloc(sizeof(*login));

    if (login == NULL)
        return SASL_NOMEM;
    memset(login, 0, sizeof(*login));
    login->is_bearer = is_bearer != NULL;
    *context = login;
    return SASL_OK;
}

static void end(void *context, const sasl_utils_t *utils)
{
    struct login *login = context;

    if (login == NULL)
        return;
    if (login->message != NULL) {
        utils->erasebuffer(login->message, (unsigned) login->length);
        utils->free(login->message);
    }
    utils->free(login);
}

static const unsigned long needed[] = { SASL_CB_AUTHNAME, SASL_CB_PASS, SASL_CB_LIST_END };

#define MECHANISM(name, is_bearer) \
    { name, 0, 0, SASL_FEAT_WANT_CLIENT_FIRST, needed, is_bearer, begin, step, end, NULL, NULL, NULL, NULL }

static int bearer;
static sasl_client_plug_t plugins[] = { MECHANISM("XOAUTH2", NULL), MECHANISM("OAUTHBEARER", &bearer) };

__attribute__((visibility("default")))
int sasl_client_plug_init(const sasl_utils_t *utils, int max_version, int *version, sasl_client_plug_t **list, int *count);

int sasl_client_plug_init(const sasl_utils_t *utils, int max_version, int *version, sasl_client_plug_t **list, int *count)
{
    (void) utils;
    if (max_version < SASL_CLIENT_PLUG_VERSION)
        return SASL_BADVERS;
    *version = SASL_CLIENT_PLUG_VERSION;
    *list = plugins;
    *count = sizeof(plugins) / sizeof(plugins[0]);
    return SASL_OK;
}
