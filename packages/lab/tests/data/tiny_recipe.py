"""A recipe that trains in a second on drawn patches."""


def tiny(train: int, test: int, epochs: int) -> str:
    """So many drawn patches of three bands, a network of a sixteenth of its width."""
    return f"""
name = "tiny"
bands = ["B4", "B3", "B2"]
seed = 3
[data]
source = "generated"
train = {train}
test = {test}
size_px = 48
[radiometry]
stretch = "reflectance"
scale = 1e-4
[training]
width = 0.0625
epochs = {epochs}
batch = 4
warmup_steps = 4
"""
