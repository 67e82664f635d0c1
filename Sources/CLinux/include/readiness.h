#pragma once
// epoll(7) and eventfd(2): glibc has them, the Swift importer's Glibc module does not.
#include <sys/epoll.h>
#include <sys/eventfd.h>
