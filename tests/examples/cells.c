/* A library of two cells for `gatecheck audit`:
 *   cc -O2 -shared -fPIC -I FOLDER_OF_GATECHECK_H -o libcells.so cells.c -lm
 * -DBUG=1 drops a factor in each backward, -DBUG=2 writes one entry too many. */
#include <math.h>
#include <stdlib.h>

#include "gatecheck.h"

#ifndef BUG
#define BUG 0
#endif

#define REAL float
#define FN(name) name##_float
#define EXP expf
#define TANH tanhf
#include "cells.inc"
#undef REAL
#undef FN
#undef EXP
#undef TANH

#define REAL double
#define FN(name) name##_double
#define EXP exp
#define TANH tanh
#include "cells.inc"

#define BOTH(function)                                       \
    (call->abi != GATECHECK_ABI ? 1                          \
     : call->itemsize == 4      ? function##_float(call)     \
                                : function##_double(call))

GATECHECK_EXPORT int lstm(const struct gatecheck_call *call) { return BOTH(lstm_forward); }
GATECHECK_EXPORT int lstm_backward(const struct gatecheck_call *call) {
    return BOTH(lstm_backward);
}
GATECHECK_EXPORT const char *lstm_info(void) {
    return GATECHECK_INFO "cell lstm\nconvention pytorch\nabilities lengths\n";
}

GATECHECK_EXPORT int gru(const struct gatecheck_call *call) { return BOTH(gru_forward); }
GATECHECK_EXPORT int gru_backward(const struct gatecheck_call *call) { return BOTH(gru_backward); }
GATECHECK_EXPORT const char *gru_info(void) {
    return GATECHECK_INFO "cell gru\nabilities lengths\n";
}

/* Without a backward and a description: --cell lstm --convention pytorch */
GATECHECK_EXPORT int plain(const struct gatecheck_call *call) { return BOTH(lstm_forward); }
