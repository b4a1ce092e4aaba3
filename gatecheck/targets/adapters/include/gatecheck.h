/* gatecheck.h: a recurrent cell in a shared library, called by
 * `gatecheck audit path/to/library.so:NAME`. C99 and C++.
 *
 *   cc -O2 -shared -fPIC \
 *     -I"$(python -c 'import gatecheck; print(gatecheck.get_include())')" -o libmine.so mine.c
 *   gatecheck audit ./libmine.so:lstm
 *
 * For NAME = lstm the library exports up to three functions:
 *
 *   GATECHECK_EXPORT int lstm(const struct gatecheck_call *call);
 *       the forward pass
 *   GATECHECK_EXPORT int lstm_backward(const struct gatecheck_call *call);
 *       optional: without it no gradient is audited
 *   GATECHECK_EXPORT const char *lstm_info(void);
 *       optional: without it give --cell and --convention
 *
 * The first two return 0, or any other number to refuse the call, which is a finding. The third
 * describes the library, one line per fact; gatecheck/targets/adapters/foreign.py lists the lines:
 *
 *   const char *lstm_info(void) {
 *       return GATECHECK_INFO "cell lstm\nconvention pytorch\ndtypes float32 float64\n";
 *   }
 *
 * Arrays are dense, the last axis fastest, and hold float where itemsize is 4, double where it is
 * 8. In x (T, B, D), y (T, B, H) and states (B, H), any of T, B may be 0. With a projection, h and
 * y are as wide as that; with several layers or directions, states are (layers * directions, B, H)
 * and y holds both directions side by side. Inputs that may be absent are NULL, which means zero.
 * Every result is a valid pointer, and every one of its entries must be written; only cT and dc0
 * are NULL, where the cell has no c.
 *
 * Before the call, gatecheck fills the results and the memory around each array with NaN (all bits
 * set). Entries that are not written, and reads outside of an array, show as NaN; writes outside of
 * an array are detected.
 */
#ifndef GATECHECK_H
#define GATECHECK_H

#include <stdint.h>

#define GATECHECK_ABI 1
#define GATECHECK_INFO "gatecheck 1\n" /* begins the text of NAME_info */

#ifdef __cplusplus
#define GATECHECK_C extern "C"
#else
#define GATECHECK_C
#endif

#ifdef _WIN32
#define GATECHECK_EXPORT GATECHECK_C __declspec(dllexport)
#else
#define GATECHECK_EXPORT GATECHECK_C __attribute__((visibility("default")))
#endif

struct gatecheck_param {
    const char *name;   /* in the convention, such as "weight_ih_l0" */
    int64_t rows;       /* of a matrix; the length of a vector */
    int64_t columns;    /* of a matrix; 1 for a vector */
    const void *value;
    void *gradient;     /* backward: a result of the same shape; forward: NULL */
};

struct gatecheck_call {
    int32_t abi;        /* GATECHECK_ABI of the caller: refuse any other */
    int32_t itemsize;   /* 4 or 8 */
    int64_t T, B, D, H; /* steps, rows of the batch, input size, hidden size */

    int64_t n_params;
    const struct gatecheck_param *params; /* always in the order of the convention */

    const void *x;
    const void *h0, *c0;      /* or NULL */
    const int64_t *lengths;   /* (B), or NULL: steps of each row; only if the info names lengths */

    void *y, *hT, *cT;        /* results of forward; NULL in backward */

    const void *dy, *dhT, *dcT; /* backward: gradients of y, hT and cT, or NULL; NULL in forward */
    void *dx, *dh0, *dc0;       /* results of backward, like each gradient; NULL in forward */
};

#endif
