from typing import Any

from omni.replicator.core import create as create
from omni.replicator.core import orchestrator as orchestrator

def set_global_seed(seed: int) -> None: ...

class _HydraHandle:
    def set_updates_enabled(self, enabled: bool) -> None: ...

class _HydraTexture:
    @property
    def path(self) -> str: ...
    @property
    def hydra_texture(self) -> _HydraHandle: ...
    def destroy(self) -> None: ...

class _Annotator:
    def attach(
        self,
        render_products: str | _HydraTexture | list[str] | list[_HydraTexture],
        render_product_idxs: list[int] | None = None,
    ) -> _Annotator: ...
    def detach(self, render_products: list[str] | None = None) -> None: ...
    def get_data(
        self,
        device: str | None = None,
        do_array_copy: bool = False,
        use_legacy_structure: bool = True,
    ) -> Any: ...

class AnnotatorRegistry:
    @classmethod
    def get_annotator(
        cls,
        name: str,
        init_params: dict[str, Any] | None = None,
        render_product_idxs: list[int] | None = None,
        device: str | None = None,
        do_array_copy: bool = True,
    ) -> _Annotator: ...
    @classmethod
    def get_registered_annotators(cls) -> list[str]: ...
