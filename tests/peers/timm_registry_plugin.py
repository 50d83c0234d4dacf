"""A pytest plugin that brings our models into a run of timm's own tests: `pytest -p timm_registry_plugin`.

timm's tests of `forward_intermediates` choose models by the name of the module that defines them; ours are listed under
its `vision_transformer`, so that those tests choose them too.
"""

from timm.models import _registry

from vision.vit import registry

_registry._module_to_models["vision_transformer"] |= _registry._module_to_models[registry.__name__.split(".")[-1]]
