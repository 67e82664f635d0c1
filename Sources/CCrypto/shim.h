#pragma once
// SHA-256 by its own functions, linked statically. OpenSSL would rather have its users call EVP, which loads every algorithm
// that it knows, and its configuration: 3.4 MB of the daemon's memory for the one that is needed.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
