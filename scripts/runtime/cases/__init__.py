"""The cases, one module an area. A case is a function that gets a `Workbench`; its name is `module.function`."""

import importlib

CASES = []


class Case:
    def __init__(self, function, controllers, differs, alone, leaves_out):
        self.function = function
        self.name = f"{function.__module__.rsplit('.', 1)[1]}.{function.__name__}"
        # Whether limits are set that need a controller.
        self.controllers = controllers
        # Why ours does otherwise than the case wants.
        self.differs = differs
        # Why neither runc nor crun can be held to it.
        self.alone = alone
        # Runtimes that it isn't tried on, and why.
        self.leaves_out = leaves_out


def case(function=None, *, controllers=False, differs="", alone="", **leaves_out):
    """Makes a function a case: `@case`, or `@case(crun="has no such flag")`."""
    def register(function):
        CASES.append(Case(function, controllers, differs, alone, leaves_out))
        return function
    return register(function) if function else register


for module in ("lifecycle", "execution", "commands", "process", "filesystem", "namespaces", "cgroups", "hooks",
               "seccomp"):
    importlib.import_module(f"cases.{module}")
