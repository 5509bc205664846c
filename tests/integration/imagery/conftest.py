"""What all tests of this folder share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """A detection in this process takes one thread; the tests after it have theirs."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)
