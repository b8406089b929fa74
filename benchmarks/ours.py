"""All of ours that a run imports, imported: most modules are imported only when one needs them."""

import pkgutil
from importlib import import_module

import harmony_pipelines.definitions  # noqa: F401

for _name in ("clients", "ops", "steps"):
    _package = import_module(f"harmony_pipelines.{_name}")
    for _module in pkgutil.iter_modules(_package.__path__):
        if not _module.ispkg:
            import_module(f"{_package.__name__}.{_module.name}")
