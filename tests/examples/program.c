/* A cell of cells.c as a program for `gatecheck audit "exec:./program lstm"`:
 *   cc -O2 -I FOLDER_OF_GATECHECK_H -o program program.c -lm
 * The messages are described in gatecheck/targets/adapters/process.py. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cells.c"

#define MOST 32

struct array {
    char name[64], dtype[16];
    int64_t dims[3];
    int n;
    void *data;
};

static struct array *find(struct array *arrays, int count, const char *name) {
    for (int k = 0; k < count; k++)
        if (!strcmp(arrays[k].name, name)) return &arrays[k];
    return NULL;
}

static void *value(struct array *arrays, int count, const char *name) {
    struct array *found = find(arrays, count, name);
    return found ? found->data : NULL;
}

static size_t size(const struct array *a) {
    size_t bytes = !strcmp(a->dtype, "float32") ? 4 : 8;
    for (int k = 0; k < a->n; k++) bytes *= a->dims[k];
    return bytes;
}

static void *result(struct array *results, int *count, const char *name, const char *dtype, int n,
    int64_t d0, int64_t d1, int64_t d2) {
    struct array *a = &results[(*count)++];
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->dtype, sizeof a->dtype, "%s", dtype);
    a->n = n, a->dims[0] = d0, a->dims[1] = d1, a->dims[2] = d2;
    return a->data = malloc(size(a) + 1);
}

int main(int argc, char **argv) {
    const int is_lstm = argc > 1 && !strcmp(argv[1], "lstm");
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        char what[16] = "", dtype[16] = "";
        struct array in[MOST], out[MOST];
        struct gatecheck_param params[MOST];
        struct gatecheck_call call = {.abi = GATECHECK_ABI, .params = params};
        int inputs = 0, outputs = 0;
        sscanf(line, "%15s %15s %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64, what, dtype,
            &call.T, &call.B, &call.D, &call.H);
        while (fgets(line, sizeof line, stdin) && strcmp(line, "end\n")) {
            struct array *a = &in[inputs++];
            a->n = sscanf(line, "array %63s %15s %" SCNd64 " %" SCNd64 " %" SCNd64, a->name,
                a->dtype, a->dims, a->dims + 1, a->dims + 2) - 2;
            a->data = malloc(size(a) + 1);
            if (fread(a->data, 1, size(a), stdin) < size(a)) return 1;
        }
        if (!strcmp(what, "describe")) {
            printf("%sabilities lengths backward\nend\n",
                is_lstm ? "gatecheck 1\ncell lstm\nconvention pytorch\n"
                : "gatecheck 1\ncell gru\n");
            fflush(stdout);
            continue;
        }
        const int64_t T = call.T, B = call.B, D = call.D, H = call.H;
        const int backward = !strcmp(what, "backward");
        call.itemsize = !strcmp(dtype, "float32") ? 4 : 8;
        call.x = value(in, inputs, "x"), call.lengths = value(in, inputs, "lengths");
        call.h0 = value(in, inputs, "h0"), call.c0 = value(in, inputs, "c0");
        call.dy = value(in, inputs, "dy"), call.dhT = value(in, inputs, "dhT"),
            call.dcT = value(in, inputs, "dcT");
        /* the parameters come first */
        for (; strcmp(in[call.n_params].name, "x"); call.n_params++) {
            struct array *a = &in[call.n_params];
            char name[66];
            snprintf(name, sizeof name, "d%s", a->name);
            params[call.n_params].value = a->data;
            if (backward)
                params[call.n_params].gradient =
                    result(out, &outputs, name, dtype, a->n, a->dims[0], a->dims[1], 0);
        }
        if (backward) {
            call.dx = result(out, &outputs, "dx", dtype, 3, T, B, D);
            call.dh0 = result(out, &outputs, "dh0", dtype, 2, B, H, 0);
            if (is_lstm) call.dc0 = result(out, &outputs, "dc0", dtype, 2, B, H, 0);
        } else {
            call.y = result(out, &outputs, "y", dtype, 3, T, B, H);
            call.hT = result(out, &outputs, "hT", dtype, 2, B, H, 0);
            if (is_lstm) call.cT = result(out, &outputs, "cT", dtype, 2, B, H, 0);
        }
        const int status = is_lstm ? (backward ? lstm_backward(&call) : lstm(&call))
                                   : (backward ? gru_backward(&call) : gru(&call));
        if (status)
            printf("refused status %d\n", status);
        else {
            for (int k = 0; k < outputs; k++) {
                printf("array %s %s", out[k].name, out[k].dtype);
                for (int d = 0; d < out[k].n; d++) printf(" %" PRId64, out[k].dims[d]);
                printf("\n");
                fwrite(out[k].data, 1, size(&out[k]), stdout);
            }
            printf("end\n");
        }
        fflush(stdout);
        for (int k = 0; k < inputs; k++) free(in[k].data);
        for (int k = 0; k < outputs; k++) free(out[k].data);
    }
    return 0;
}
