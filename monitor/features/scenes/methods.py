"""Choose the method of a plugin that reads a scene without a network."""

from detection.imagery.scene.scene import Scene
from monitor.api.plugins import hooks
from monitor.api.scenes import SceneMethod


def find_method(scene: Scene) -> SceneMethod | None:
    """Return the first method of a plugin that applies to the scene."""
    for methods in hooks().register_scene_methods():
        for method in methods:
            if method.applies(scene):
                found: SceneMethod = method
                return found
    return None
