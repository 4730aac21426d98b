/* The functions that Cython implements, taken from the modules' capsules in an interpreter that is then let go. */
#ifndef FG_HOST_H
#define FG_HOST_H

#include "fg_engine.h"

/* Starts the interpreter on the first call; ends the program when it cannot. No Python runs afterwards. */
const struct fg_functions *fg_host_functions(void);

#endif
