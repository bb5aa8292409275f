"""The recorded tiny LLaVA-Med, in folders."""

from tests.model.conftest import clip_folder, v1_folder, v1_tensors  # noqa: F401 - fixtures
