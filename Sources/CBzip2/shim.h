#pragma once
// Only its types: the library is loaded when an archive first needs it.
#include <bzlib.h>
