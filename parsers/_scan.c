/* Scans blocks of log lines by programs that `programs.py` compiles from the rules' own patterns.

   It knows nothing of Postfix. Of each line it finds the header, then the first rule that matches the text. A line of a
   rule with columns adds its fields to lists; every other line is returned as a tuple. A line that is not printable ASCII,
   is too long or whose tag is not known is returned as text alone, for `parse`.

   Promises: no line, and no program that `Scanner` accepts, makes it read or write outside its buffers or run without end; a
   match that takes too many steps or too deep a recursion gives up, and its line is left to `parse`. No static state.
   CPython's Limited API of 3.11. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { MAX_LINE = 8192, MAX_DEPTH = 400, MAX_TRAIL = 512, MAX_SLOTS = 128, MAX_STEPS = 1000000, FAILED = -1, GAVE_UP = -2 };
enum { HEADER_GROUPS = 6, STAMP = 1, HOST, TAG, PID, SEVERITY, TEXT };  /* of the header's program */
enum { OF_STAMP = -1, OF_HOST = -2, OF_INSTANCE = -3, OF_DAEMON = -4, OF_PID = -5 };  /* columns that are no groups */

/* As in programs.py. */
typedef enum {
    MATCH, CHAR, SET, STRING, SAVE, SPLIT, JUMP, GREEDY, LAZY, POSSESSIVE, ATOMIC, LOOP, AHEAD, NOT_AHEAD, AT_END, OPS
} Op;

typedef struct {
    uint8_t op;
    uint8_t byte;   /* CHAR: the character. GREEDY, POSSESSIVE: the only one that the set lacks, or 0 */
    uint16_t set;   /* SET, GREEDY, LAZY, POSSESSIVE: number of a set */
    uint32_t to;    /* where the other branch or the code after a body begins; SAVE: slot; STRING: place */
    uint32_t min;   /* repetitions; STRING: length */
    uint32_t max;
} Step;

typedef struct {
    Step *steps;
    uint32_t length;
    uint8_t (*sets)[32];
    uint32_t set_count;
    char *strings;
    uint32_t string_size;
    uint32_t slots;  /* two for each group, and two for group 0, which is not used */
} Program;

typedef struct {
    Program program;
    PyObject *fields;   /* tuple of groups: the event's fields in order; 0 for one that the line lacks */
    PyObject *columns;  /* tuple of groups and OF_…, in the order of the kind's lists; NULL without columns */
    Py_ssize_t kind;
} Rule;

typedef struct {
    PyObject_HEAD
    Program header;
    Rule *rules;
    Py_ssize_t rule_count;
    PyObject *widths;  /* tuple: number of lists of each kind */
    PyObject *find;    /* tag, whether the line has a severity → (instance, daemon, numbers of its rules) or None */
    PyObject *tags[2]; /* dicts that remember its answers, for plain lines and for those with a severity */
    PyObject *no_hosts;
} Scanner;

/* --- matching */

typedef struct {
    const Program *program;
    const char *text;
    int32_t end;
    int32_t slots[MAX_SLOTS];
    struct { uint32_t slot; int32_t value; } trail[MAX_TRAIL];  /* what groups were before, for backtracking */
    int trail_size;
    int32_t steps_left;
} Match;

static inline int in_set(const Program *program, uint32_t set, char c)
{
    uint8_t byte = (uint8_t)c;
    return program->sets[set][byte >> 3] >> (byte & 7) & 1;
}

static void undo(Match *match, int size)
{
    while (match->trail_size > size) {
        match->trail_size--;
        match->slots[match->trail[match->trail_size].slot] = match->trail[match->trail_size].value;
    }
}

/* Return how many characters from a place on are in the set, at most `max`. */
static int32_t span(const Match *match, const Step *step, int32_t at)
{
    int32_t limit = match->end - at, count = 0;
    if (step->max < (uint32_t)limit)
        limit = (int32_t)step->max;
    if (step->byte) {
        const char *found = memchr(match->text + at, step->byte, (size_t)limit);
        return found ? (int32_t)(found - (match->text + at)) : limit;
    }
    while (count < limit && in_set(match->program, step->set, match->text[at + count]))
        count++;
    return count;
}

/* Whether the step can begin at a place: a cheap look before a recursion. */
static inline int can_begin(const Match *match, const Step *step, int32_t at)
{
    switch (step->op) {
    case CHAR: return at < match->end && match->text[at] == (char)step->byte;
    case STRING: return at < match->end && match->text[at] == match->program->strings[step->to];
    case SET: return at < match->end && in_set(match->program, step->set, match->text[at]);
    default: return 1;
    }
}

static int32_t run(Match *match, uint32_t pc, int32_t at, int depth);

/* Try a branch of the program: run it, and undo what it did if it fails. */
static int32_t try_branch(Match *match, uint32_t pc, int32_t at, int depth)
{
    int mark = match->trail_size;
    if (!can_begin(match, &match->program->steps[pc], at))
        return FAILED;
    int32_t result = run(match, pc, at, depth + 1);
    if (result == FAILED)
        undo(match, mark);
    return result;
}

/* Run the program from a step on. Return where it matched to, FAILED or GAVE_UP. */
static int32_t run(Match *match, uint32_t pc, int32_t at, int depth)
{
    const Program *program = match->program;
    if (depth > MAX_DEPTH)
        return GAVE_UP;
    while (match->steps_left-- > 0) {
        const Step *step = &program->steps[pc];
        int mark = match->trail_size;
        int32_t result, count;
        switch ((Op)step->op) {
        case MATCH:
            return at;
        case CHAR:
            if (at >= match->end || match->text[at] != (char)step->byte)
                return FAILED;
            at++, pc++;
            break;
        case SET:
            if (at >= match->end || !in_set(program, step->set, match->text[at]))
                return FAILED;
            at++, pc++;
            break;
        case STRING:
            if ((uint32_t)(match->end - at) < step->min
                || memcmp(match->text + at, program->strings + step->to, step->min) != 0)
                return FAILED;
            at += (int32_t)step->min, pc++;
            break;
        case SAVE:
            if (match->trail_size == MAX_TRAIL)
                return GAVE_UP;
            match->trail[mark].slot = step->to;
            match->trail[mark].value = match->slots[step->to];
            match->trail_size++;
            match->slots[step->to] = at;
            pc++;
            break;
        case SPLIT:
            if ((result = try_branch(match, pc + 1, at, depth)) != FAILED)
                return result;
            pc = step->to;
            break;
        case JUMP:
            pc = step->to;
            break;
        case POSSESSIVE:
            count = span(match, step, at);
            if ((uint32_t)count < step->min)
                return FAILED;
            at += count, pc++;
            break;
        case GREEDY:
            count = span(match, step, at);
            if ((uint32_t)count < step->min)
                return FAILED;
            for (; (uint32_t)count > step->min; count--)
                if ((result = try_branch(match, pc + 1, at + count, depth)) != FAILED)
                    return result;
            at += count, pc++;
            break;
        case LAZY: {
            int32_t most = span(match, step, at);
            if ((uint32_t)most < step->min)
                return FAILED;
            for (count = (int32_t)step->min; count < most; count++)
                if ((result = try_branch(match, pc + 1, at + count, depth)) != FAILED)
                    return result;
            at += most, pc++;
            break;
        }
        case ATOMIC:
            result = run(match, pc + 1, at, depth + 1);
            if (result < 0)
                return result;
            at = result, pc = step->to;
            break;
        case LOOP:  /* possessive; a body that matches nothing is not compiled */
            for (count = 0; (uint32_t)count < step->max; count++) {
                mark = match->trail_size;
                result = run(match, pc + 1, at, depth + 1);
                if (result == GAVE_UP)
                    return GAVE_UP;
                if (result == FAILED || result == at) {
                    undo(match, mark);
                    break;
                }
                at = result;
            }
            if ((uint32_t)count < step->min)
                return FAILED;
            pc = step->to;
            break;
        case AHEAD:
        case NOT_AHEAD:
            result = run(match, pc + 1, at, depth + 1);
            if (result == GAVE_UP)
                return GAVE_UP;
            if (step->op == NOT_AHEAD)
                undo(match, mark);
            if ((result == FAILED) != (step->op == NOT_AHEAD))
                return FAILED;
            pc = step->to;
            break;
        case AT_END:
            if (at != match->end)
                return FAILED;
            pc++;
            break;
        default:
            return GAVE_UP;
        }
    }
    return GAVE_UP;
}

/* Match a whole text. Return 1, 0 or GAVE_UP. */
static int matches(Match *match, const Program *program, const char *text, int32_t size)
{
    int32_t result;
    match->program = program;
    match->text = text;
    match->end = size;
    match->trail_size = 0;
    match->steps_left = MAX_STEPS;
    for (uint32_t slot = 0; slot < program->slots; slot++)
        match->slots[slot] = -1;
    result = run(match, 0, 0, 0);
    return result == GAVE_UP ? GAVE_UP : result >= 0;
}

/* --- programs */

/* Read a program: (steps, sets, strings, number of groups). Return 0, or -1 with an exception. */
static int read_program(PyObject *from, Program *program)
{
    const char *steps, *sets, *strings;
    Py_ssize_t step_size, set_size, string_size;
    unsigned int groups;
    if (!PyArg_ParseTuple(from, "y#y#y#I:program", &steps, &step_size, &sets, &set_size, &strings, &string_size, &groups))
        return -1;
    Py_ssize_t length = step_size / (Py_ssize_t)sizeof(Step);
    if (!length || step_size % (Py_ssize_t)sizeof(Step) || set_size % 32 || length > UINT16_MAX || set_size / 32 > UINT16_MAX
        || string_size > INT32_MAX || groups >= MAX_SLOTS / 2) {
        PyErr_SetString(PyExc_ValueError, "a program must have whole steps and sets, and at most 63 groups");
        return -1;
    }
    program->steps = PyMem_Malloc((size_t)step_size);
    program->sets = PyMem_Malloc((size_t)set_size + 1);
    program->strings = PyMem_Malloc((size_t)string_size + 1);
    if (!program->steps || !program->sets || !program->strings) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(program->steps, steps, (size_t)step_size);
    memcpy(program->sets, sets, (size_t)set_size);
    memcpy(program->strings, strings, (size_t)string_size);
    program->length = (uint32_t)length;
    program->set_count = (uint32_t)(set_size / 32);
    program->string_size = (uint32_t)string_size;
    program->slots = 2 * (groups + 1);
    for (uint32_t pc = 0; pc < program->length; pc++) {
        const Step *step = &program->steps[pc];
        int ok = step->op < OPS;
        switch ((Op)step->op) {
        case SAVE: ok = step->to < program->slots; break;
        case STRING: ok = step->min > 0 && step->to < program->string_size && step->min <= program->string_size - step->to; break;
        case SET: case GREEDY: case LAZY: case POSSESSIVE: ok = step->set < program->set_count; break;
        case SPLIT: case JUMP: case ATOMIC: case LOOP: case AHEAD: case NOT_AHEAD: ok = step->to < program->length; break;
        default: break;
        }
        /* Every step but a match and a jump goes on to the next one. */
        if (!ok || (pc + 1 == program->length && step->op != MATCH && step->op != JUMP)) {
            PyErr_Format(PyExc_ValueError, "step %u of a program is not valid", (unsigned int)pc);
            return -1;
        }
    }
    return 0;
}

static void free_program(Program *program)
{
    PyMem_Free(program->steps);
    PyMem_Free(program->sets);
    PyMem_Free(program->strings);
}

/* Check that a tuple has integers from `low` to the number of groups. */
static int check_groups(PyObject *groups, const Program *program, long low)
{
    if (!PyTuple_Check(groups)) {
        PyErr_SetString(PyExc_TypeError, "groups must be a tuple");
        return -1;
    }
    for (Py_ssize_t place = 0; place < PyTuple_Size(groups); place++) {
        long group = PyLong_AsLong(PyTuple_GetItem(groups, place));
        if (group == -1 && PyErr_Occurred())
            return -1;
        if (group < low || group >= (long)(program->slots / 2)) {
            PyErr_SetString(PyExc_ValueError, "a group is not one of the program's");
            return -1;
        }
    }
    return 0;
}

/* --- scanning */

/* A string that repeats from line to line, such as a host, is made once. */
typedef struct {
    const char *text;
    int32_t size;
    PyObject *object;
} Kept;

typedef struct {
    PyObject *values[6];  /* by -OF_…; borrowed */
    const Match *match;   /* of the text */
} Fields;

static PyObject *kept(Kept *last, const char *text, int32_t size)
{
    if (last->object && last->size == size && memcmp(last->text, text, (size_t)size) == 0)
        return last->object;
    PyObject *object = PyUnicode_FromStringAndSize(text, size);
    if (!object)
        return NULL;
    Py_XDECREF(last->object);
    last->object = object;
    last->text = text;
    last->size = size;
    return object;
}

/* Return a new reference to the value of a group or header field; None for a group that matched nothing. */
static PyObject *value_of(const Fields *fields, long group)
{
    if (group < 0) {
        PyObject *value = fields->values[-group];
        Py_INCREF(value);
        return value;
    }
    int32_t begin = fields->match->slots[2 * group], end = fields->match->slots[2 * group + 1];
    if (group == 0 || begin < 0 || end < begin) {
        Py_INCREF(Py_None);
        return Py_None;
    }
    return PyUnicode_FromStringAndSize(fields->match->text + begin, end - begin);
}

/* Append a new reference to a list; it is taken over, also at failure. */
static int append(PyObject *list, PyObject *value)
{
    int result = value ? PyList_Append(list, value) : -1;
    Py_XDECREF(value);
    return result;
}

/* Return the lists of a kind: its line ends, then its columns. */
static PyObject *lists_of(Scanner *self, PyObject *found, Py_ssize_t kind)
{
    PyObject *lists = PyList_GetItem(found, kind);
    if (lists != Py_None)
        return lists;
    Py_ssize_t width = PyLong_AsSsize_t(PyTuple_GetItem(self->widths, kind)) + 1;
    lists = PyList_New(width);
    if (!lists)
        return NULL;
    for (Py_ssize_t place = 0; place < width; place++) {
        PyObject *list = PyList_New(0);
        if (!list || PyList_SetItem(lists, place, list) < 0) {
            Py_DECREF(lists);
            return NULL;
        }
    }
    return PyList_SetItem(found, kind, lists) < 0 ? NULL : lists;
}

static int add_row(Scanner *self, PyObject *found, const Rule *rule, const Fields *fields, Py_ssize_t end)
{
    PyObject *lists = lists_of(self, found, rule->kind);
    if (!lists || append(PyList_GetItem(lists, 0), PyLong_FromSsize_t(end)) < 0)
        return -1;
    Py_ssize_t width = PyTuple_Size(rule->columns);
    for (Py_ssize_t place = 0; place < width; place++) {
        long group = PyLong_AsLong(PyTuple_GetItem(rule->columns, place));
        if (append(PyList_GetItem(lists, place + 1), value_of(fields, group)) < 0)
            return -1;
    }
    return 0;
}

static PyObject *fields_of(const Rule *rule, const Fields *fields)
{
    Py_ssize_t size = PyTuple_Size(rule->fields);
    PyObject *values = PyTuple_New(size);
    for (Py_ssize_t place = 0; values && place < size; place++) {
        PyObject *value = value_of(fields, PyLong_AsLong(PyTuple_GetItem(rule->fields, place)));
        if (!value || PyTuple_SetItem(values, place, value) < 0)
            Py_CLEAR(values);
    }
    return values;
}

/* Return what `find` says of a tag; borrowed. */
static PyObject *known(Scanner *self, PyObject *tag, int is_problem)
{
    PyObject *tags = self->tags[is_problem];
    PyObject *entry = PyDict_GetItemWithError(tags, tag);
    if (entry || PyErr_Occurred())
        return entry;
    entry = PyObject_CallFunction(self->find, "Oi", tag, is_problem);
    if (!entry)
        return NULL;
    if (entry != Py_None
        && (!PyTuple_Check(entry) || PyTuple_Size(entry) != 3 || !PyTuple_Check(PyTuple_GetItem(entry, 2)))) {
        Py_DECREF(entry);
        PyErr_SetString(PyExc_TypeError, "find must return (instance, daemon, rules) or None");
        return NULL;
    }
    if (PyDict_Size(tags) >= 512)  /* another program may put a counter into its tag */
        PyDict_Clear(tags);
    int failed = PyDict_SetItem(tags, tag, entry);
    Py_DECREF(entry);  /* the dict has it */
    return failed ? NULL : entry;
}

/* Return the first rule that matches, NULL if none does; GAVE_UP is noted in `gave_up`. */
static const Rule *first_match(Scanner *self, PyObject *numbers, Match *match, const char *text, int32_t size, int *gave_up)
{
    for (Py_ssize_t place = 0; place < PyTuple_Size(numbers); place++) {
        Py_ssize_t number = PyLong_AsSsize_t(PyTuple_GetItem(numbers, place));
        if (number < 0 || number >= self->rule_count) {
            PyErr_Clear();
            *gave_up = 1;
            return NULL;
        }
        int result = matches(match, &self->rules[number].program, text, size);
        if (result == GAVE_UP) {
            *gave_up = 1;
            return NULL;
        }
        if (result)
            return &self->rules[number];
    }
    return NULL;
}

static int is_plain(const char *line, Py_ssize_t size)
{
    if (size > MAX_LINE || (size && (line[size - 1] == ' ')))
        return 0;
    unsigned char odd = 0;
    for (Py_ssize_t place = 0; place < size; place++)
        odd |= (unsigned char)(line[place] - ' ') > '~' - ' ';
    return !odd;
}

typedef struct {
    Kept stamp, host, tag, pid;
} Header;

/* Take a line that ends in a line end. Return 1 if it was taken, 0 if it is left to `parse`, -1 with an exception. */
static int take(Scanner *self, Header *header, const char *line, int32_t size, Py_ssize_t end, PyObject *found, PyObject *others)
{
    Match match, head;
    if (!is_plain(line, size) || matches(&head, &self->header, line, size) != 1)
        return 0;
    const int32_t *slots = head.slots;
#define PART(group) line + slots[2 * (group)], slots[2 * (group) + 1] - slots[2 * (group)]
    PyObject *stamp = kept(&header->stamp, PART(STAMP));
    PyObject *host = kept(&header->host, PART(HOST));
    PyObject *tag = kept(&header->tag, PART(TAG));
    PyObject *pid = kept(&header->pid, PART(PID));
    if (!stamp || !host || !tag || !pid)
        return -1;
    int is_problem = slots[2 * SEVERITY] >= 0, gave_up = 0, is_level = PySet_Contains(self->no_hosts, host);
    PyObject *entry = is_level ? NULL : known(self, tag, is_problem);
    if (!entry)
        return is_level > 0 ? 0 : -1;
    if (entry == Py_None)
        return 0;
    const Rule *rule = first_match(self, PyTuple_GetItem(entry, 2), &match, PART(TEXT), &gave_up);
    if (!rule)
        return 0;
    Fields fields = {{NULL, stamp, host, PyTuple_GetItem(entry, 0), PyTuple_GetItem(entry, 1), pid}, &match};
    if (rule->columns)
        return add_row(self, found, rule, &fields, end) < 0 ? -1 : 1;
    PyObject *values = fields_of(rule, &fields);
    if (!values)
        return -1;
    PyObject *row = Py_BuildValue(
        "ns#OOOOOz#s#nN", end, line, (Py_ssize_t)size, stamp, host, fields.values[3], fields.values[4], pid,
        is_problem ? line + slots[2 * SEVERITY] : NULL,
        (Py_ssize_t)(is_problem ? slots[2 * SEVERITY + 1] - slots[2 * SEVERITY] : 0),
        line + slots[2 * TEXT], (Py_ssize_t)(slots[2 * TEXT + 1] - slots[2 * TEXT]), (Py_ssize_t)(rule - self->rules), values);
#undef PART
    return append(others, row) < 0 ? -1 : 1;
}

PyDoc_STRVAR(scan_doc,
"scan(text)\n--\n\n"
"Scan lines, each with its line end. Return (kinds, others).\n\n"
"kinds: for each kind None, or [ends, column, …]. others: (end, line) for `parse`, or (end, line, stamp, host, instance,\n"
"daemon, pid, severity or None, text, number of the rule, fields), in order. Ends are places in `text`.");

static PyObject *scan(Scanner *self, PyObject *text)
{
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    Py_ssize_t kinds = PyTuple_Size(self->widths);
    PyObject *found = bytes ? PyList_New(kinds) : NULL, *others = PyList_New(0);
    Header header = {{0}, {0}, {0}, {0}};
    int failed = !found || !others;
    for (Py_ssize_t kind = 0; !failed && kind < kinds; kind++) {
        Py_INCREF(Py_None);
        failed = PyList_SetItem(found, kind, Py_None) < 0;
    }
    Py_ssize_t at = 0, narrower = 0;  /* bytes that are no characters of their own */
    while (!failed && at < size) {
        const char *line = bytes + at, *newline = memchr(line, '\n', (size_t)(size - at));
        Py_ssize_t length = newline ? newline - line : size - at;
        at += length + 1;
        int taken = 0;
        if (length <= MAX_LINE)
            taken = take(self, &header, line, (int32_t)length, at - narrower, found, others);
        if (taken == 0) {
            for (Py_ssize_t place = 0; place < length; place++)
                narrower += ((unsigned char)line[place] & 0xC0) == 0x80;
            taken = append(others, Py_BuildValue("ns#", at - narrower, line, length));
        }
        failed = taken < 0;
    }
    Py_XDECREF(header.stamp.object);
    Py_XDECREF(header.host.object);
    Py_XDECREF(header.tag.object);
    Py_XDECREF(header.pid.object);
    PyObject *result = failed ? NULL : PyTuple_Pack(2, found, others);
    Py_XDECREF(found);
    Py_XDECREF(others);
    return result;
}

/* --- the type */

PyDoc_STRVAR(add_doc,
"add(program, fields, columns, kind)\n--\n\n"
"Add a rule and return its number. fields: groups of the event's fields. kind: number of the kind whose lists take its lines,\n"
"by `columns`; -1 if its lines are returned one by one. Raises ValueError for a program or group that is not valid.");

static PyObject *add(Scanner *self, PyObject *args)
{
    PyObject *program, *fields, *columns;
    Rule rule = {{0}, NULL, NULL, -1};
    if (!PyArg_ParseTuple(args, "O!O!O!n:add", &PyTuple_Type, &program, &PyTuple_Type, &fields, &PyTuple_Type, &columns,
                          &rule.kind))
        return NULL;
    if (rule.kind >= PyTuple_Size(self->widths)
        || (rule.kind >= 0 && PyLong_AsSsize_t(PyTuple_GetItem(self->widths, rule.kind)) != PyTuple_Size(columns))) {
        PyErr_SetString(PyExc_ValueError, "a rule must have as many columns as its kind");
        return NULL;
    }
    Rule *rules = NULL;
    if (read_program(program, &rule.program) == 0 && check_groups(fields, &rule.program, 0) == 0
        && check_groups(columns, &rule.program, OF_PID) == 0) {
        rules = PyMem_Realloc(self->rules, ((size_t)self->rule_count + 1) * sizeof(Rule));
        if (!rules)
            PyErr_NoMemory();
    }
    if (!rules) {
        free_program(&rule.program);
        return NULL;
    }
    Py_INCREF(fields);
    rule.fields = fields;
    if (rule.kind >= 0) {
        Py_INCREF(columns);
        rule.columns = columns;
    }
    self->rules = rules;
    rules[self->rule_count] = rule;
    return PyLong_FromSsize_t(self->rule_count++);
}

static void free_rules(Scanner *self)
{
    for (Py_ssize_t number = 0; number < self->rule_count; number++) {
        free_program(&self->rules[number].program);
        Py_XDECREF(self->rules[number].fields);
        Py_XDECREF(self->rules[number].columns);
    }
    PyMem_Free(self->rules);
    self->rules = NULL;
    self->rule_count = 0;
}

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"header", "widths", "find", "no_hosts", NULL};
    PyObject *header, *widths, *find, *no_hosts;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O!OO!:Scanner", names, &PyTuple_Type, &header, &PyTuple_Type, &widths,
                                     &find, &PyFrozenSet_Type, &no_hosts))
        return NULL;
    for (Py_ssize_t kind = 0; kind < PyTuple_Size(widths); kind++) {
        Py_ssize_t width = PyLong_AsSsize_t(PyTuple_GetItem(widths, kind));
        if (width < 0 || width > UINT16_MAX) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a width must be a number of columns");
            return NULL;
        }
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Scanner *self = (Scanner *)alloc(type, 0);
    if (!self)
        return NULL;
    Py_INCREF(widths);
    self->widths = widths;
    Py_INCREF(find);
    self->find = find;
    Py_INCREF(no_hosts);
    self->no_hosts = no_hosts;
    self->tags[0] = PyDict_New();
    self->tags[1] = PyDict_New();
    int failed = !self->tags[0] || !self->tags[1] || read_program(header, &self->header) < 0;
    if (!failed && self->header.slots != 2 * (HEADER_GROUPS + 1)) {
        PyErr_SetString(PyExc_ValueError, "the header's program must have six groups");
        failed = 1;
    }
    if (failed)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int scanner_traverse(Scanner *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->find);
    Py_VISIT(self->tags[0]);
    Py_VISIT(self->tags[1]);
    return 0;
}

static int scanner_clear(Scanner *self)
{
    Py_CLEAR(self->find);
    Py_CLEAR(self->tags[0]);
    Py_CLEAR(self->tags[1]);
    return 0;
}

static void scanner_dealloc(Scanner *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    scanner_clear(self);
    free_rules(self);
    free_program(&self->header);
    Py_XDECREF(self->widths);
    Py_XDECREF(self->no_hosts);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef scanner_methods[] = {
    {"add", (PyCFunction)add, METH_VARARGS, add_doc},
    {"scan", (PyCFunction)scan, METH_O, scan_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(scanner_doc,
"Scanner(header, widths, find, no_hosts)\n--\n\n"
"Scans lines.\n\n"
"header: program with the groups stamp, host, tag, pid, severity, text. widths: number of columns of each kind.\n"
"find: tag, 1 for a line with a severity → (instance, daemon, numbers of its rules) or None. no_hosts: names that are no hosts.\n"
"Raises ValueError for a program that is not valid.");

static PyType_Slot scanner_slots[] = {
    {Py_tp_doc, (void *)scanner_doc},        {Py_tp_new, scanner_new},
    {Py_tp_traverse, scanner_traverse},      {Py_tp_clear, scanner_clear},
    {Py_tp_dealloc, scanner_dealloc},        {Py_tp_methods, scanner_methods},
    {0, NULL},
};

static PyType_Spec scanner_spec = {
    "postward.parsers._scan.Scanner", sizeof(Scanner), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, scanner_slots,
};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &scanner_spec, NULL);
    int failed = !type || PyModule_AddObjectRef(module, "Scanner", type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT, "_scan", "Scanner of log lines.", 0, NULL, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__scan(void) { return PyModuleDef_Init(&module_def); }
