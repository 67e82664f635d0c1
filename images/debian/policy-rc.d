#!/bin/sh
# Packages installed in a container don't start their services.
exit 101
