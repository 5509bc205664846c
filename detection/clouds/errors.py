"""Why work on a point cloud stops: one class per cause, one clear line each."""

from detection.imagery.errors import ImageryError


class CloudError(ImageryError):
    """A point cloud that cannot be used; the message names the file and the reason."""


class DamagedCloudError(CloudError):
    """The file contradicts itself: its header, its size, or what its points say."""


class NoPointsError(CloudError):
    """The file has no point, or none that lies on the ground."""


class NoPlaceError(CloudError):
    """The file does not say in which system its coordinates are, or that system cannot be used."""
