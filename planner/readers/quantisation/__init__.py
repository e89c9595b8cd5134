"""How a published checkpoint is quantised, module by module, from what its files say of it."""

from planner.readers.quantisation.published import published_storage
from planner.readers.quantisation.storage import PublishedStorage

__all__ = ["PublishedStorage", "published_storage"]
