"""Methods that read a scene without a network. Plugins provide them by the hook `register_scene_methods`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from detection.imagery.change.records import StoredDate
from detection.imagery.scene.scene import Scene
from monitor.features.scenes.tasks import ReadScene, SceneRequest
from monitor.plugins import hooks


@dataclass(frozen=True, slots=True)
class SceneMethod:
    """A method that reads the scenes it applies to, in a worker without a database."""

    applies: Callable[[Scene], bool]
    # Returns the dates that `read` compares the scene with. The worker is called again if their footprints are missing.
    list_compared: Callable[[SceneRequest, Scene], Iterable[StoredDate]]
    # Raises ImageryError if the scene cannot be read.
    read: Callable[[SceneRequest, Scene], ReadScene]


def find_method(scene: Scene) -> SceneMethod | None:
    """Return the first method of a plugin that applies to the scene."""
    for methods in hooks().register_scene_methods():
        for method in methods:
            if method.applies(scene):
                found: SceneMethod = method
                return found
    return None
