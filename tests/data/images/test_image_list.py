import numpy as np
import pytest
from photos import write_photos

from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import absent, image_list


def test_images_of_a_folder_that_cannot_be_read_are_not_absent(tmp_path, close):
    write_photos(tmp_path, {"a": 1, "b": 1})
    images = image_list(tmp_path, ["a/0.png", "b/0.png", "c/0.png"], np.array([0, 1, 2]))
    assert absent(images) == ["c/0.png"]
    close(tmp_path / "b")
    with pytest.raises(UserError, match=r"b/?: cannot be read \(Permission denied\); allow reading it"):
        absent(images)
